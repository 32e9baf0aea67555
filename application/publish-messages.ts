/**
 * Publish: one message, or many at once. The answer follows the append, never precedes it: a receipt means stored, and
 * synced to disk where that was asked for. A message with an idempotency key is stored once within the window, however
 * often it is published and wherever.
 */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import { instantOf, type Cursor, type Offset } from '../domain/message/offset.js';
import type { Instant, Milliseconds } from '../domain/time.js';
import type { TopicEvent } from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { topic as topicDecider, type Publication, type PublishLimits } from '../domain/topic/topic.js';
import { mayPublish } from './authorise.js';
import type { Principal } from './ports/authenticator.js';
import type { Clock } from './ports/clock.js';
import type { Digest } from './ports/digest.js';
import {
  topicStream,
  type Durability,
  type EventStore,
  type Once,
  type OnceItem,
  type OnceOutcome,
  type StoreUnavailable,
} from './ports/event-store.js';
import type { Metrics } from './ports/metrics.js';
import type { PublishRefusal } from './refusals.js';

export interface Receipt {
  readonly topic: TopicName;
  readonly offset: Offset;
  /** When the message was stored. */
  readonly publishedAt: Instant;
  /** It was stored before, under the same idempotency key, and nothing was stored now. */
  readonly isDuplicate: boolean;
}

/** A message, where it shall go, and what its producer wants to be sure of. */
export interface AddressedPublication {
  readonly topic: TopicName;
  readonly publication: Publication;
  /** Names the message among all that its principal publishes, to whichever topic. Absent: stored each time. */
  readonly idempotencyKey?: string;
  /** Default: stored. */
  readonly durability?: Durability;
}

export interface PublishSettings extends PublishLimits {
  /** How long an idempotency key is remembered. */
  readonly idempotencyWindowMs: Milliseconds;
}

export interface PublishMessages {
  /** Stores one message. */
  readonly one: (principal: Principal, item: AddressedPublication) => TE.TaskEither<PublishRefusal, Receipt>;
  /**
   * Stores what it may, and answers for each item in the order given. Order is kept within a topic, and so one item
   * that is to be synced makes all items of its topic wait for that.
   */
  readonly many: (
    principal: Principal,
    items: readonly AddressedPublication[],
  ) => () => Promise<readonly E.Either<PublishRefusal, Receipt>[]>;
}

export const makePublishMessages = (
  store: EventStore,
  clock: Clock,
  metrics: Metrics,
  digest: Digest,
  settings: PublishSettings,
): PublishMessages => {
  const accept = (
    principal: Principal,
    item: AddressedPublication,
  ): E.Either<PublishRefusal, OnceItem<TopicEvent>> =>
    F.pipe(
      mayPublish(principal, item.topic),
      E.flatMap((): E.Either<PublishRefusal, readonly TopicEvent[]> =>
        topicDecider.decide(topicDecider.initialState, {
          type: 'PublishMessages',
          publications: [item.publication],
          limits: settings,
          now: clock.now(),
        }),
      ),
      E.map(([event]) => toOnceItem(event ?? impossible(), onceOf(principal, item))),
    );

  /** Digests, so that the store keeps nothing that a producer has written, and no key is longer than it may be. */
  const onceOf = (principal: Principal, item: AddressedPublication): Once | undefined =>
    item.idempotencyKey === undefined
      ? undefined
      : {
          key: `publish:${digest(JSON.stringify([principal.id, item.idempotencyKey]))}`,
          fingerprint: digest(contentOf(item)),
          windowMs: settings.idempotencyWindowMs,
        };

  const append = (
    topic: TopicName,
    items: readonly OnceItem<TopicEvent>[],
    durability: Durability,
  ): TE.TaskEither<StoreUnavailable, readonly E.Either<PublishRefusal, Receipt>[]> =>
    F.pipe(
      items.every(({ once }) => once === undefined)
        ? appendAll(topic, items, durability)
        : store.appendOnce(topicStream(topic), items, { durability }),
      TE.tapIO((outcomes) => () => metrics.messagesReceived(outcomes.filter(isStored).length)),
      TE.map((outcomes) => outcomes.map((outcome) => toResult(topic, outcome))),
    );

  const appendAll = (
    topic: TopicName,
    items: readonly OnceItem<TopicEvent>[],
    durability: Durability,
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]> =>
    F.pipe(
      store.append(
        topicStream(topic),
        items.map(({ event }) => event),
        { durability },
      ),
      TE.mapLeft((failure) => (failure._tag === 'StoreUnavailable' ? failure : impossible())),
      TE.map((cursors) => cursors.map((at): OnceOutcome => ({ _tag: 'Stored', at }))),
    );

  const one: PublishMessages['one'] = (principal, item) =>
    F.pipe(
      TE.fromEither(accept(principal, item)),
      TE.flatMap((accepted) => append(item.topic, [accepted], item.durability ?? 'stored')),
      TE.flatMapEither(([result]) => result ?? impossible()),
    );

  const many: PublishMessages['many'] = (principal, items) => async () => {
    const accepted = items.map((item) => accept(principal, item));
    const results: E.Either<PublishRefusal, Receipt>[] = [];
    await Promise.all(
      [...new Set(items.map(({ topic }) => topic))].map(async (topic) => {
        const indexes = indexesOf(items, topic).filter((i) => accepted[i]?._tag === 'Right');
        const ofTopic = indexes.flatMap((i) =>
          F.pipe(
            accepted[i] ?? impossible(),
            E.match(
              () => [],
              (each) => [each],
            ),
          ),
        );
        if (ofTopic.length === 0) return;
        const durability = indexes.some((i) => items[i]?.durability === 'fsync') ? 'fsync' : 'stored';
        const stored = await append(topic, ofTopic, durability)();
        for (const [k, i] of indexes.entries()) {
          results[i] = F.pipe(
            stored,
            E.flatMap((outcomes) => outcomes[k] ?? impossible()),
          );
        }
      }),
    );
    for (const [i, outcome] of accepted.entries()) if (E.isLeft(outcome)) results[i] = outcome;
    return results;
  };

  return { one, many };
};

const toOnceItem = (event: TopicEvent, once: Once | undefined): OnceItem<TopicEvent> =>
  once === undefined ? { event } : { event, once };

/**
 * All of a message that makes it another one, as a text that no other message has: JSON has no line breaks of its own.
 * Not the expiry, which moves on with the clock, and not the durability: a producer may want more of it the second time.
 */
const contentOf = ({ topic, publication }: AddressedPublication): string => {
  const { payload, ttlSeconds, key, priority, headers } = publication;
  // Optional parts are null where they are absent; headers in one order, as JSON objects have none.
  const rest = [topic, ttlSeconds ?? null, key ?? null, priority ?? null, sortedEntries(headers)];
  return `${JSON.stringify(rest)}\n${payload}`;
};

const sortedEntries = (headers: Publication['headers'] = {}): readonly (readonly [string, string])[] =>
  Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));

const isStored = ({ _tag }: OnceOutcome): boolean => _tag === 'Stored';

const toResult = (topic: TopicName, outcome: OnceOutcome): E.Either<PublishRefusal, Receipt> =>
  outcome._tag === 'KeyReused'
    ? E.left({ _tag: 'IdempotencyKeyReused' })
    : E.right(toReceipt(topic, outcome.at, outcome._tag === 'Duplicate'));

const toReceipt = (topic: TopicName, { offset }: Cursor, isDuplicate: boolean): Receipt => ({
  topic,
  offset,
  publishedAt: instantOf(offset),
  isDuplicate,
});

const indexesOf = (items: readonly AddressedPublication[], topic: TopicName): readonly number[] =>
  [...items.keys()].filter((i) => items[i]?.topic === topic);

const impossible = (): never => {
  throw new Error(
    'an append without an expected version cannot conflict and answers one place for each event',
  );
};
