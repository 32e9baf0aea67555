/**
 * Subscription: what one client has seen of its topics. Decides what opening, dispatching, acknowledging and giving
 * back mean; its journal is the record. Deadlines and places arrive in the commands, so the same journal gives the
 * same state on every instance.
 */
import { either as E } from 'fp-ts';
import { assertNever } from '../assert-never.js';
import type { Decider } from '../decider.js';
import type { Guarantee } from '../delivery/guarantee.js';
import { policyOf } from '../delivery/delivery-policy.js';
import { redeliveryDelayMs } from '../delivery/redelivery-delay.js';
import { instantOf, type Cursor, type Offset } from '../message/offset.js';
import type { Instant, Milliseconds } from '../time.js';
import type { TopicName } from '../topic/topic-name.js';
import { isTopicName, matches, type TopicPattern } from '../topic/topic-pattern.js';
import type {
  DeadLetterReason,
  SubscriptionEvent,
  SubscriptionSettings,
  SubscriptionSnapshotted,
  TopicStart,
} from './subscription-events.js';
import {
  advanced,
  areDue,
  areNew,
  deliveredOf,
  expiredAt,
  extended,
  hasExpired,
  pendingOf,
  positionAt,
  restored,
  returned,
  settled,
  settlementOf,
  unacknowledged,
  waitingOf,
  type Pending,
  type TopicPosition,
} from './topic-position.js';

// Commands

/** Opens the subscription, or adds to it what it does not have yet. */
export interface OpenSubscription {
  readonly type: 'Open';
  /** Absent: as it is; at-least-once where it is new. */
  readonly guarantee?: Guarantee;
  readonly settings: SubscriptionSettings;
  readonly topics: readonly TopicPattern[];
  /** Where the topics that exist begin, for those that the subscription does not follow yet. */
  readonly starts: readonly TopicStart[];
  /** Topics that patterns had matched and that do not exist any more. */
  readonly gone: ForgetTopics;
  readonly topicsMax: number;
  /** Whoever takes the subscription over: a connection's own name, or `POLLS`. */
  readonly session: string;
}

/** A topic came into being that one of the patterns matches. */
export interface FollowTopics {
  readonly type: 'Follow';
  readonly starts: readonly TopicStart[];
}

export interface RemoveTopics {
  readonly type: 'Remove';
  readonly topics: readonly TopicPattern[];
}

/**
 * Gives `cursors` to the client; of everything else up to `next` nothing is to be delivered. As attempt 1, all of them
 * are new; as a later one, all of them are due again as that attempt.
 */
export interface DispatchMessages {
  readonly type: 'Dispatch';
  readonly topic: TopicName;
  readonly next: Cursor;
  readonly cursors: readonly Cursor[];
  readonly attempt: number;
  readonly now: Instant;
}

export interface AcknowledgeMessages {
  readonly type: 'Acknowledge';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
}

/** Gives messages back, to be dispatched again after `delayMs`, or after the backoff where there is none. */
export interface RejectMessages {
  readonly type: 'Reject';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly delayMs: Milliseconds | undefined;
  readonly now: Instant;
  /** From 0 up to 1, anew for each command. */
  readonly jitter: number;
}

/** The client is still working on them: the acknowledgement timeout starts anew. */
export interface ExtendDeadline {
  readonly type: 'Extend';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly now: Instant;
}

/** Time has passed: what was not acknowledged by its deadline is due again, after the backoff. */
export interface ExpireDeliveries {
  readonly type: 'Expire';
  readonly now: Instant;
  /** From 0 up to 1, anew for each command. */
  readonly jitter: number;
}

/** These were published to the dead-letter topic, or there is none. */
export interface DeadLetterMessages {
  readonly type: 'DeadLetter';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly reason: DeadLetterReason;
}

/** These topics are gone. */
export interface ForgetTopics {
  readonly type: 'Forget';
  readonly topics: readonly TopicName[];
  /** When the last message of a topic that is gone was published at the latest. */
  readonly before: Instant;
}

/** A live connection records where it stands. */
export interface CommitPosition {
  readonly type: 'Commit';
  readonly topic: TopicName;
  readonly next: Cursor;
  readonly pending: readonly Pending[];
}

export type SubscriptionCommand =
  | OpenSubscription
  | FollowTopics
  | RemoveTopics
  | DispatchMessages
  | AcknowledgeMessages
  | RejectMessages
  | ExtendDeadline
  | ExpireDeliveries
  | DeadLetterMessages
  | ForgetTopics
  | CommitPosition;

// State

/** The session of all polls: they hold nothing between two answers, so they do not take over from each other. */
export const POLLS = 'polls';

export interface Subscription {
  readonly isOpen: boolean;
  readonly guarantee: Guarantee;
  readonly settings: SubscriptionSettings;
  /** Who holds it; undefined where nobody ever did. */
  readonly session: string | undefined;
  /** As the client named them. */
  readonly topics: readonly TopicPattern[];
  /** Every topic that is followed, by name or because a pattern matched it. */
  readonly positions: ReadonlyMap<TopicName, TopicPosition>;
}

// Refusals

/** A subscription keeps the guarantee it was opened with. */
export interface GuaranteeMismatch {
  readonly _tag: 'GuaranteeMismatch';
  readonly guarantee: Guarantee;
}

export interface TooManyTopics {
  readonly _tag: 'TooManyTopics';
  readonly topicsMax: number;
}

/** The topic is not one of this subscription's. */
export interface TopicNotFollowed {
  readonly _tag: 'TopicNotFollowed';
  readonly topic: TopicName;
}

/** More messages would be unacknowledged than the subscription allows. */
export interface InFlightExceeded {
  readonly _tag: 'InFlightExceeded';
  readonly maxInFlight: number;
}

/** Some of these messages may not be given now: settled, with the client, not due yet, or not in order. */
export interface NotDispatchable {
  readonly _tag: 'NotDispatchable';
  readonly topic: TopicName;
}

export type SubscriptionRefusal =
  GuaranteeMismatch | TooManyTopics | TopicNotFollowed | InFlightExceeded | NotDispatchable;

const initialState: Subscription = {
  isOpen: false,
  guarantee: 'at_least_once',
  settings: { ackTimeoutMs: 0, maxInFlight: 0, maxDeliveries: 0, backoffMs: [] },
  session: undefined,
  topics: [],
  positions: new Map(),
};

type Decision = E.Either<SubscriptionRefusal, readonly SubscriptionEvent[]>;

const decide = (subscription: Subscription, command: SubscriptionCommand): Decision => {
  switch (command.type) {
    case 'Open':
      return open(subscription, command);
    case 'Follow':
      return E.right(
        topicsAdded(
          [],
          command.starts.filter(({ topic }) => !subscription.positions.has(topic)),
        ),
      );
    case 'Remove': {
      const topics = command.topics.filter((topic) => subscription.topics.includes(topic));
      return E.right(topics.length === 0 ? [] : [{ type: 'TopicsRemoved', topics }]);
    }
    case 'Dispatch':
      return dispatch(subscription, command);
    case 'Acknowledge':
      return onKnown(subscription, command, (topic, offsets) => ({
        type: 'MessagesAcknowledged',
        topic,
        offsets,
      }));
    case 'Reject':
      return reject(subscription, command);
    case 'Extend':
      return onKnown(subscription, command, (topic, offsets) => ({
        type: 'DeadlineExtended',
        topic,
        offsets,
        deadline: command.now + subscription.settings.ackTimeoutMs,
      }));
    case 'Expire':
      return E.right(expire(subscription, command));
    case 'DeadLetter':
      return onKnown(subscription, command, (topic, offsets) => ({
        type: 'MessagesDeadLettered',
        topic,
        offsets,
        reason: command.reason,
      }));
    case 'Forget':
      return E.right(forget(subscription, command));
    case 'Commit':
      return subscription.positions.has(command.topic)
        ? E.right([
            { type: 'PositionCommitted', topic: command.topic, next: command.next, pending: command.pending },
          ])
        : E.left({ _tag: 'TopicNotFollowed', topic: command.topic });
    default:
      return assertNever(command);
  }
};

const evolve = (subscription: Subscription, event: SubscriptionEvent): Subscription => {
  switch (event.type) {
    case 'SubscriptionOpened':
      return { ...subscription, isOpen: true, guarantee: event.guarantee, settings: event.settings };
    case 'TopicsAdded':
      return {
        ...subscription,
        // Not by spreading both: an array that grows as it is made keeps room for more, and every subscription has one.
        topics: subscription.topics.concat(event.topics),
        positions: new Map([
          ...subscription.positions,
          ...event.starts.map(({ topic, at }) => [topic, positionAt(at)] as const),
        ]),
      };
    case 'TopicsRemoved': {
      const topics = subscription.topics.filter((topic) => !event.topics.includes(topic));
      return {
        ...subscription,
        topics,
        positions: new Map([...subscription.positions].filter(([topic]) => selects(topics, topic))),
      };
    }
    case 'SessionStarted':
      return event.session === subscription.session ? subscription : takenOver(subscription, event.session);
    case 'MessagesDispatched':
      return move(subscription, event.topic, (position) =>
        policyOf(subscription.guarantee).dispatched(
          position,
          event.next,
          event.cursors,
          event.attempt,
          event.deadline,
        ),
      );
    case 'MessagesAcknowledged':
      return move(subscription, event.topic, (position) => settled(position, event.offsets));
    case 'MessagesRejected':
      return move(subscription, event.topic, (position) =>
        returned(position, event.offsets, event.notBefore),
      );
    case 'DeadlineExtended':
      return move(subscription, event.topic, (position) => extended(position, event.offsets, event.deadline));
    case 'DeliveryExpired':
      return move(subscription, event.topic, (position) =>
        returned(position, event.offsets, event.notBefore),
      );
    case 'MessagesDeadLettered':
      return move(subscription, event.topic, (position) => settled(position, event.offsets));
    case 'TopicsForgotten': {
      const positions = new Map(subscription.positions);
      for (const topic of event.topics) positions.delete(topic);
      return { ...subscription, positions };
    }
    case 'MessagesSkipped':
      return move(subscription, event.topic, (position) => advanced(position, event.next));
    case 'PositionCommitted':
      return move(subscription, event.topic, () => ({ ...positionAt(event.next), due: event.pending }));
    case 'SubscriptionSnapshotted':
      return fromSnapshot(event);
    default:
      return assertNever(event);
  }
};

export const subscription: Decider<
  SubscriptionCommand,
  Subscription,
  SubscriptionEvent,
  SubscriptionRefusal
> = {
  initialState,
  decide,
  evolve,
};

/** Is `topic` named or matched by one of `topics`? */
export const selects = (topics: readonly TopicPattern[], topic: TopicName): boolean =>
  topics.some((pattern) => matches(pattern, topic));

/** How many more messages the client may be given now. */
export const credit = (subscription: Subscription): number => {
  let waiting = 0;
  for (const position of subscription.positions.values()) waiting += unacknowledged(position);
  return Math.max(0, subscription.settings.maxInFlight - waiting);
};

/** The state as one event, so that the journal in front of it can be forgotten. */
export const toSnapshot = (subscription: Subscription): SubscriptionSnapshotted => ({
  type: 'SubscriptionSnapshotted',
  guarantee: subscription.guarantee,
  settings: subscription.settings,
  session: subscription.session,
  topics: subscription.topics,
  positions: [...subscription.positions].map(([topic, { next, inFlight, due }]) => ({
    topic,
    next,
    inFlight: inFlight.map((batch) => ({
      cursors: waitingOf(batch),
      attempt: batch.attempt,
      deadline: batch.deadline,
    })),
    due,
  })),
});

const fromSnapshot = (event: SubscriptionSnapshotted): Subscription => ({
  isOpen: true,
  guarantee: event.guarantee,
  settings: event.settings,
  session: event.session,
  topics: event.topics,
  positions: new Map(
    event.positions.map(({ topic, next, inFlight, due }) => [topic, restored(next, inFlight, due)]),
  ),
});

const open = (subscription: Subscription, command: OpenSubscription): Decision => {
  const { guarantee = subscription.guarantee, settings, session } = command;
  if (subscription.isOpen && guarantee !== subscription.guarantee) {
    return E.left({ _tag: 'GuaranteeMismatch', guarantee: subscription.guarantee });
  }
  const topics = [...new Set(command.topics)].filter((topic) => !subscription.topics.includes(topic));
  if (subscription.topics.length + topics.length > command.topicsMax) {
    return E.left({ _tag: 'TooManyTopics', topicsMax: command.topicsMax });
  }
  const starts = command.starts.filter(({ topic }) => !subscription.positions.has(topic));
  const gone = forget(subscription, command.gone);
  const isAsItWas = subscription.isOpen && equalSettings(subscription.settings, settings);
  return E.right([
    ...(isAsItWas ? [] : [{ type: 'SubscriptionOpened', guarantee, settings } as const]),
    ...gone,
    ...topicsAdded(topics, starts),
    ...(session === subscription.session ? [] : [{ type: 'SessionStarted', session } as const]),
  ]);
};

export const equalSettings = (a: SubscriptionSettings, b: SubscriptionSettings): boolean =>
  a.ackTimeoutMs === b.ackTimeoutMs &&
  a.maxInFlight === b.maxInFlight &&
  a.maxDeliveries === b.maxDeliveries &&
  (a.backoffMs === b.backoffMs ||
    (a.backoffMs.length === b.backoffMs.length &&
      a.backoffMs.every((backoffMs, i) => backoffMs === b.backoffMs[i])));

const topicsAdded = (
  topics: readonly TopicPattern[],
  starts: readonly TopicStart[],
): readonly SubscriptionEvent[] =>
  topics.length === 0 && starts.length === 0 ? [] : [{ type: 'TopicsAdded', topics, starts }];

const dispatch = (subscription: Subscription, command: DispatchMessages): Decision => {
  const { topic, next, cursors, attempt, now } = command;
  const position = subscription.positions.get(topic);
  if (position === undefined) return E.left({ _tag: 'TopicNotFollowed', topic });
  const { ackTimeoutMs, maxInFlight } = subscription.settings;
  if (cursors.length === 0) {
    return E.right(next.offset > position.next.offset ? [{ type: 'MessagesSkipped', topic, next }] : []);
  }
  const isFirst = attempt === 1;
  if (!(isFirst ? areNew(position, next, cursors) : areDue(position, cursors, attempt, now))) {
    return E.left({ _tag: 'NotDispatchable', topic });
  }
  // What is due again is counted as unacknowledged already.
  if (isFirst && cursors.length > credit(subscription))
    return E.left({ _tag: 'InFlightExceeded', maxInFlight });
  return E.right([
    { type: 'MessagesDispatched', topic, next, cursors, attempt, deadline: now + ackTimeoutMs },
  ]);
};

/** One event over the offsets that wait for an answer; none where there are none of those. */
const onKnown = (
  subscription: Subscription,
  { topic, offsets }: { readonly topic: TopicName; readonly offsets: readonly Offset[] },
  event: (topic: TopicName, offsets: readonly Offset[]) => SubscriptionEvent,
): Decision => {
  const position = subscription.positions.get(topic);
  if (position === undefined) return E.left({ _tag: 'TopicNotFollowed', topic });
  const { known } = settlementOf(position, offsets);
  return E.right(known.length === 0 ? [] : [event(topic, known)]);
};

/** One event for each number of deliveries, since the backoff depends on it. */
const reject = (subscription: Subscription, command: RejectMessages): Decision => {
  const { topic, offsets, delayMs, now, jitter } = command;
  const position = subscription.positions.get(topic);
  if (position === undefined) return E.left({ _tag: 'TopicNotFollowed', topic });
  const { backoffMs } = subscription.settings;
  return E.right(
    deliveredOf(position, offsets).map((delivered) => ({
      type: 'MessagesRejected',
      topic,
      offsets: delivered.offsets,
      notBefore: now + (delayMs ?? redeliveryDelayMs(backoffMs, delivered.attempt, jitter)),
    })),
  );
};

const expire = (
  subscription: Subscription,
  { now, jitter }: ExpireDeliveries,
): readonly SubscriptionEvent[] => {
  const events: SubscriptionEvent[] = [];
  for (const [topic, position] of subscription.positions) {
    // The usual case, at every poll.
    if (!hasExpired(position, now)) continue;
    for (const { attempt, offsets } of expiredAt(position, now)) {
      const notBefore = now + redeliveryDelayMs(subscription.settings.backoffMs, attempt, jitter);
      events.push({ type: 'DeliveryExpired', topic, offsets, notBefore });
    }
  }
  return events;
};

const forget = (
  subscription: Subscription,
  { topics, before }: ForgetTopics,
): readonly SubscriptionEvent[] => {
  const forgotten = topics.filter((topic) => isForgettable(subscription, topic, before));
  return forgotten.length === 0 ? [] : [{ type: 'TopicsForgotten', topics: forgotten }];
};

/**
 * A topic that was named stays: the client knows of it. What is unacknowledged is told as lost first. A position that
 * is younger than that stands in a topic that has come back, and whoever says that it is gone has not heard of it yet.
 */
const isForgettable = (subscription: Subscription, topic: TopicName, before: Instant): boolean => {
  const position = subscription.positions.get(topic);
  return (
    position !== undefined &&
    !namedTopics(subscription.topics).includes(topic) &&
    unacknowledged(position) === 0 &&
    instantOf(position.next.offset) < before
  );
};

/** Was a message that is to be delivered as this attempt delivered as often as it may be? */
export const isExhausted = ({ maxDeliveries }: SubscriptionSettings, attempt: number): boolean =>
  maxDeliveries > 0 && attempt > maxDeliveries;

/** What somebody else was given is due again, in front of what is newer: the one who takes over has not seen it. */
const takenOver = (subscription: Subscription, session: string): Subscription => ({
  ...subscription,
  session,
  positions: new Map(
    [...subscription.positions].map(([topic, position]) => [
      topic,
      position.inFlightCount === 0 ? position : { ...positionAt(position.next), due: pendingOf(position) },
    ]),
  ),
});

const move = (
  subscription: Subscription,
  topic: TopicName,
  change: (position: TopicPosition) => TopicPosition,
): Subscription => {
  const position = subscription.positions.get(topic);
  // A journal may speak of a topic that was removed meanwhile; there is nothing left to move.
  return position === undefined
    ? subscription
    : { ...subscription, positions: new Map(subscription.positions).set(topic, change(position)) };
};

/** The topics that were named one by one, without patterns. */
export const namedTopics = (topics: readonly TopicPattern[]): readonly TopicName[] =>
  topics.filter((topic) => isTopicName(topic));
