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
import type { Cursor, Offset } from '../message/offset.js';
import type { Instant } from '../time.js';
import type { TopicName } from '../topic/topic-name.js';
import { isTopicName, matches, type TopicPattern } from '../topic/topic-pattern.js';
import type {
  SubscriptionEvent,
  SubscriptionSettings,
  SubscriptionSnapshotted,
  TopicStart,
} from './subscription-events.js';
import {
  advanced,
  countOf,
  expiredAt,
  positionAt,
  returned,
  settled,
  settlementOf,
  unacknowledged,
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

/** Gives `cursors` to the client; of everything else up to `next` nothing is to be delivered. */
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

/** Gives messages back, to be dispatched again at or after `notBefore`. */
export interface RejectMessages {
  readonly type: 'Reject';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly notBefore: Instant;
}

/** Time has passed: what was not acknowledged by its deadline is due again. */
export interface ExpireDeliveries {
  readonly type: 'Expire';
  readonly now: Instant;
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
  | ExpireDeliveries
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

export type SubscriptionRefusal = GuaranteeMismatch | TooManyTopics | TopicNotFollowed | InFlightExceeded;

const initialState: Subscription = {
  isOpen: false,
  guarantee: 'at_least_once',
  settings: { ackTimeoutMs: 0, maxInFlight: 0, maxDeliveries: 0 },
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
      return onKnown(subscription, command, (topic, offsets) => ({
        type: 'MessagesRejected',
        topic,
        offsets,
        notBefore: command.notBefore,
      }));
    case 'Expire':
      return E.right(expire(subscription, command.now));
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
        topics: [...subscription.topics, ...event.topics],
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
      return { ...subscription, session: event.session };
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
    case 'DeliveryExpired':
      return move(subscription, event.topic, (position) => returned(position, event.offsets, 0));
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
    inFlight,
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
    event.positions.map(({ topic, next, inFlight, due }) => [
      topic,
      { next, inFlight, inFlightCount: countOf(inFlight), due },
    ]),
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
  const isAsItWas = subscription.isOpen && equalSettings(subscription.settings, settings);
  return E.right([
    ...(isAsItWas ? [] : [{ type: 'SubscriptionOpened', guarantee, settings } as const]),
    ...topicsAdded(topics, starts),
    ...(session === subscription.session ? [] : [{ type: 'SessionStarted', session } as const]),
  ]);
};

const equalSettings = (a: SubscriptionSettings, b: SubscriptionSettings): boolean =>
  a.ackTimeoutMs === b.ackTimeoutMs && a.maxInFlight === b.maxInFlight && a.maxDeliveries === b.maxDeliveries;

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
  // What is due again is counted as unacknowledged already.
  const added = attempt > 1 ? 0 : cursors.length;
  if (added > credit(subscription)) return E.left({ _tag: 'InFlightExceeded', maxInFlight });
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

const expire = (subscription: Subscription, now: Instant): readonly SubscriptionEvent[] =>
  [...subscription.positions].flatMap(([topic, position]) => {
    const offsets = expiredAt(position, now);
    return offsets.length === 0 ? [] : [{ type: 'DeliveryExpired', topic, offsets } as const];
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
