/**
 * Dead letters: messages that a subscription has given up. Each is published to the dead-letter topic of its topic
 * before it is settled, so that it is in at least one of the two places, and from there it can be sent back.
 */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import { formatMessageId, type MessageId } from '../domain/message/message-id.js';
import { instantOf, NO_OFFSET, type Offset, type Recorded } from '../domain/message/offset.js';
import type { Identity } from '../domain/subscription/client-id.js';
import type { DeadLetterReason } from '../domain/subscription/subscription-events.js';
import { deadLetterTopicOf, isDeadLetterTopic } from '../domain/topic/dead-letter-topic.js';
import type { MessagePublished } from '../domain/topic/topic-events.js';
import type { Instant, Milliseconds } from '../domain/time.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { mayManage } from './authorise.js';
import type { Principal } from './ports/authenticator.js';
import type { Clock } from './ports/clock.js';
import { topicStream, type EventStore, type OnceItem, type StoreUnavailable } from './ports/event-store.js';
import type { Logger } from './ports/logger.js';
import type { Metrics } from './ports/metrics.js';
import type { Forbidden } from './refusals.js';
import { onlyMessages, readMessages } from './unsettled-ids.js';

/** A message on its way to the dead-letter topic. */
export interface GivenUp {
  readonly message: Recorded<MessagePublished>;
  /** How often it was delivered. */
  readonly attempts: number;
}

/** The dead letters of one topic, as they lie in its dead-letter topic; headers say where each comes from and why. */
export interface DeadLetterPage {
  /** Undefined: messages of this topic that are given up are dropped. */
  readonly deadLetterTopic: TopicName | undefined;
  readonly messages: readonly Recorded<MessagePublished>[];
  /** Where the next page begins; undefined where this one was the last. */
  readonly next: Offset | undefined;
}

export interface Redriven {
  /** How many were published to their topic again and taken out of the dead-letter topic. */
  readonly count: number;
  /** Ids (of the dead-letter topic) that are not there, or not there any more. */
  readonly unknown: readonly MessageId[];
}

/** Which dead letters to send back: these (by their ids in the dead-letter topic), or the oldest ones. */
export type Redrive = { readonly ids: readonly MessageId[] } | { readonly oldest: number };

export interface DeadLetters {
  /** May its messages be given up? Those of a dead-letter topic are delivered until somebody settles them. */
  mayGiveUp(topic: TopicName): boolean;
  /** Publishes messages that `subscription` has given up. Publishing the same one again has no effect. */
  bury(
    subscription: Identity,
    topic: TopicName,
    letters: readonly GivenUp[],
    reason: DeadLetterReason,
  ): TE.TaskEither<StoreUnavailable, void>;
  /** Up to `limit` dead letters of `topic` above `after`. Needs the grant `manage` for `topic`. */
  list(
    principal: Principal,
    topic: TopicName,
    after: Offset,
    limit: number,
  ): TE.TaskEither<Forbidden | StoreUnavailable, DeadLetterPage>;
  /** Publishes dead letters to `topic` again, in their order, once each. Needs the grant `manage` for `topic`. */
  redrive(
    principal: Principal,
    topic: TopicName,
    which: Redrive,
  ): TE.TaskEither<Forbidden | StoreUnavailable, Redriven>;
}

export interface DeadLetterSettings {
  /** `dlq.{topic}`; empty: messages that are given up are dropped, and counted. */
  readonly template: string;
  /** How long it is remembered that a message was published, so that doing it again has no effect. */
  readonly rememberedMs: Milliseconds;
}

export interface DeadLetterDependencies {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** What the headers of a dead letter are called; all begin like this. */
const HEADER = 'dead-letter-';

/** Dead letters sent back in one go; more would hold up the answer. */
const REDRIVE_PAGE = 100;

/** A part of a dead-letter topic; `next` is where it goes on, undefined at its end. */
interface Page {
  readonly letters: readonly Recorded<MessagePublished>[];
  readonly next: Offset | undefined;
}

const EMPTY: Page = { letters: [], next: undefined };

/** How long a message that should go to the dead-letter topic waits where that could not be written. */
export const BURY_AGAIN_MS: Milliseconds = 1_000;

export const makeDeadLetters = (
  { store, clock, metrics, logger }: DeadLetterDependencies,
  { template, rememberedMs }: DeadLetterSettings,
): DeadLetters => {
  const bury: DeadLetters['bury'] = (subscription, topic, letters, reason) => {
    const deadLetterTopic = deadLetterTopicOf(template, topic);
    const count = (messages: number): void => {
      if (messages === 0) return;
      metrics.messagesDeadLettered(reason, messages);
      logger.info('dead_lettered', { topic, deadLetterTopic, reason, messages });
    };
    if (deadLetterTopic === undefined || letters.length === 0) return TE.fromIO(() => count(letters.length));
    const buriedAt = clock.now();
    const items = letters.map((letter): OnceItem<MessagePublished> => ({
      event: toDeadLetter(subscription, topic, letter, reason, buriedAt),
      once: {
        key: `dead-letter:${JSON.stringify([subscription.principal, subscription.clientId])}:${idOf(topic, letter)}`,
        fingerprint: '',
        windowMs: rememberedMs,
      },
    }));
    return F.pipe(
      store.appendOnce(topicStream(deadLetterTopic), items),
      TE.map((outcomes) => count(outcomes.filter(({ _tag }) => _tag === 'Stored').length)),
    );
  };

  const read = (
    deadLetterTopic: TopicName,
    after: Offset,
    limit: number,
  ): TE.TaskEither<StoreUnavailable, Page> =>
    F.pipe(
      store.read(topicStream(deadLetterTopic), after, limit),
      TE.map((events) => ({
        letters: onlyMessages(events),
        next: events.length < limit ? undefined : events[events.length - 1]?.offset,
      })),
    );

  /** Topics with names too long for one of their own share a dead-letter topic. */
  const isOf =
    (topic: TopicName) =>
    ({ event }: Recorded<MessagePublished>): boolean =>
      (event.headers?.[`${HEADER}topic`] ?? topic) === topic;

  const list: DeadLetters['list'] = (principal, topic, after, limit) => {
    const deadLetterTopic = deadLetterTopicOf(template, topic);
    return F.pipe(
      TE.fromEither<Forbidden | StoreUnavailable, TopicName>(mayManage(principal, topic)),
      TE.flatMap(() =>
        deadLetterTopic === undefined ? TE.right(EMPTY) : read(deadLetterTopic, after, limit),
      ),
      TE.map(({ letters, next }) => ({ deadLetterTopic, messages: letters.filter(isOf(topic)), next })),
    );
  };

  /** Published first and removed second; a key under which it is remembered keeps a second try from doubling it. */
  const sendBack = (
    deadLetterTopic: TopicName,
    topic: TopicName,
    letters: readonly Recorded<MessagePublished>[],
  ): TE.TaskEither<StoreUnavailable, number> => {
    const ours = letters.filter(isOf(topic));
    if (ours.length === 0) return TE.right(0);
    const items = ours.map(({ event, offset }): OnceItem<MessagePublished> => ({
      event: toOriginal(event),
      once: {
        key: `redrive:${formatMessageId(deadLetterTopic, offset)}`,
        fingerprint: '',
        windowMs: rememberedMs,
      },
    }));
    return F.pipe(
      store.appendOnce(topicStream(topic), items),
      TE.tapIO(
        (outcomes) => () => metrics.messagesReceived(outcomes.filter(({ _tag }) => _tag === 'Stored').length),
      ),
      TE.flatMap(() =>
        store.remove(
          topicStream(deadLetterTopic),
          ours.map(({ offset }) => offset),
        ),
      ),
    );
  };

  const sendBackOldest =
    (deadLetterTopic: TopicName, topic: TopicName, most: number): TE.TaskEither<StoreUnavailable, number> =>
    async () => {
      let count = 0;
      let after: Offset | undefined = NO_OFFSET;
      while (after !== undefined && count < most) {
        const page: E.Either<StoreUnavailable, Page> = await read(deadLetterTopic, after, REDRIVE_PAGE)();
        if (E.isLeft(page)) return page;
        const letters = page.right.letters.filter(isOf(topic)).slice(0, most - count);
        const sent = await sendBack(deadLetterTopic, topic, letters)();
        if (E.isLeft(sent)) return sent;
        count += sent.right;
        after = page.right.next;
      }
      return E.right(count);
    };

  const sendBackThese = (
    deadLetterTopic: TopicName,
    topic: TopicName,
    ids: readonly MessageId[],
  ): TE.TaskEither<StoreUnavailable, Redriven> => {
    const offsets = ids.filter((id) => id.topic === deadLetterTopic).map(({ offset }) => offset);
    return F.pipe(
      readMessages(
        store,
        deadLetterTopic,
        [...new Set(offsets)].sort((a, b) => a - b),
      ),
      TE.map((letters) => letters.filter(isOf(topic))),
      TE.flatMap((letters) => {
        const found = new Set(letters.map(({ offset }) => offset));
        const unknown = ids.filter((id) => id.topic !== deadLetterTopic || !found.has(id.offset));
        return F.pipe(
          sendBack(deadLetterTopic, topic, letters),
          TE.map((count) => ({ count, unknown })),
        );
      }),
    );
  };

  const redrive: DeadLetters['redrive'] = (principal, topic, which) => {
    const deadLetterTopic = deadLetterTopicOf(template, topic);
    return F.pipe(
      TE.fromEither<Forbidden | StoreUnavailable, TopicName>(mayManage(principal, topic)),
      TE.flatMap((): TE.TaskEither<StoreUnavailable, Redriven> => {
        if (deadLetterTopic === undefined)
          return TE.right({ count: 0, unknown: 'ids' in which ? which.ids : [] });
        return 'ids' in which
          ? sendBackThese(deadLetterTopic, topic, which.ids)
          : F.pipe(
              sendBackOldest(deadLetterTopic, topic, which.oldest),
              TE.map((count) => ({ count, unknown: [] })),
            );
      }),
    );
  };

  const mayGiveUp: DeadLetters['mayGiveUp'] = (topic) => !isDeadLetterTopic(template, topic);

  return { mayGiveUp, bury, list, redrive };
};

const idOf = (topic: TopicName, { message }: GivenUp): string => formatMessageId(topic, message.offset);

/** The same message, with where it comes from in its headers. It does not expire: somebody is to look at it. */
const toDeadLetter = (
  subscription: Identity,
  topic: TopicName,
  letter: GivenUp,
  reason: DeadLetterReason,
  buriedAt: Instant,
): MessagePublished => {
  const { payload, key, priority, headers } = letter.message.event;
  return {
    type: 'MessagePublished',
    payload,
    ...(key === undefined ? {} : { key }),
    ...(priority === undefined ? {} : { priority }),
    headers: {
      ...headers,
      [`${HEADER}reason`]: reason,
      [`${HEADER}attempts`]: String(letter.attempts),
      [`${HEADER}message-id`]: idOf(topic, letter),
      [`${HEADER}topic`]: topic,
      [`${HEADER}principal`]: subscription.principal,
      [`${HEADER}client-id`]: subscription.clientId,
      [`${HEADER}published-at`]: new Date(instantOf(letter.message.offset)).toISOString(),
      [`${HEADER}at`]: new Date(buriedAt).toISOString(),
    },
  };
};

/** As its producer sent it, but for its time to live, which is over or not known any more. */
const toOriginal = ({ payload, key, priority, headers = {} }: MessagePublished): MessagePublished => {
  const own = Object.entries(headers).filter(([name]) => !name.startsWith(HEADER));
  return {
    type: 'MessagePublished',
    payload,
    ...(key === undefined ? {} : { key }),
    ...(priority === undefined ? {} : { priority }),
    ...(own.length === 0 ? {} : { headers: Object.fromEntries(own) }),
  };
};
