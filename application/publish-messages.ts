/**
 * Publish: one message, or many at once. The answer follows the append, never precedes it: a receipt means stored, and
 * synced to disk where that was asked for. A message with an idempotency key is stored once within the window, however
 * often it is published and wherever.
 * HOT PATH, budget 2 µs per publish without the store (npm run bench -- --scenario ingest --profile DIR): plain branches
 * where a pipe of TaskEithers would make a dozen closures and promises.
 */
import { either as E, type taskEither as TE } from 'fp-ts';
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
  ): E.Either<PublishRefusal, OnceItem<TopicEvent>> => {
    const allowed = mayPublish(principal, item.topic);
    if (E.isLeft(allowed)) return allowed;
    const decided = topicDecider.decide(topicDecider.initialState, {
      type: 'PublishMessages',
      publications: [item.publication],
      limits: settings,
      now: clock.now(),
    });
    if (E.isLeft(decided)) return decided;
    return E.right(toOnceItem(decided.right[0] ?? impossible(), onceOf(principal, item)));
  };

  /** Digests, so that the store keeps nothing that a producer has written, and no key is longer than it may be. */
  const onceOf = (principal: Principal, item: AddressedPublication): Once | undefined =>
    item.idempotencyKey === undefined
      ? undefined
      : {
          key: `publish:${digest(JSON.stringify([principal.id, item.idempotencyKey]))}`,
          fingerprint: digest(contentOf(item)),
          windowMs: settings.idempotencyWindowMs,
        };

  /** Stores items of one topic and answers for each. */
  const append = async (
    topic: TopicName,
    items: readonly OnceItem<TopicEvent>[],
    durability: Durability,
  ): Promise<E.Either<StoreUnavailable, readonly E.Either<PublishRefusal, Receipt>[]>> => {
    const stream = topicStream(topic);
    if (items.every(({ once }) => once === undefined)) {
      const cursors = await store.append(
        stream,
        items.map(({ event }) => event),
        { durability },
      )();
      if (E.isLeft(cursors))
        return cursors.left._tag === 'StoreUnavailable' ? E.left(cursors.left) : impossible();
      metrics.messagesReceived(cursors.right.length);
      return E.right(cursors.right.map((at) => E.right(toReceipt(topic, at, false))));
    }
    const outcomes = await store.appendOnce(stream, items, { durability })();
    if (E.isLeft(outcomes)) return outcomes;
    metrics.messagesReceived(outcomes.right.filter(isStored).length);
    return E.right(outcomes.right.map((outcome) => toResult(topic, outcome)));
  };

  /**
   * The same as `append` for what nearly every publish is, without a list for each step, and without a function that is
   * kept while the store is waited for.
   */
  const appendPlain = (
    topic: TopicName,
    event: TopicEvent,
    durability: Durability,
  ): Promise<E.Either<PublishRefusal, Receipt>> =>
    store
      .append(topicStream(topic), [event], { durability })()
      .then((places) => {
        if (E.isLeft(places))
          return places.left._tag === 'StoreUnavailable' ? E.left(places.left) : impossible();
        metrics.messagesReceived(1);
        return E.right(toReceipt(topic, places.right[0] ?? impossible(), false));
      });

  const one: PublishMessages['one'] = (principal, item) => () => {
    const accepted = accept(principal, item);
    if (E.isLeft(accepted)) return Promise.resolve(accepted);
    const { topic, durability = 'stored' } = item;
    return accepted.right.once === undefined
      ? appendPlain(topic, accepted.right.event, durability)
      : append(topic, [accepted.right], durability).then((results) =>
          E.isLeft(results) ? results : (results.right[0] ?? impossible()),
        );
  };

  const many: PublishMessages['many'] = (principal, items) => async () => {
    const results: E.Either<PublishRefusal, Receipt>[] = [];
    const ofTopics = new Map<TopicName, Accepted[]>();
    for (const [i, item] of items.entries()) {
      const accepted = accept(principal, item);
      if (E.isLeft(accepted)) {
        results[i] = accepted;
        continue;
      }
      const ofTopic = ofTopics.get(item.topic);
      const each = { i, item: accepted.right, isSynced: item.durability === 'fsync' };
      if (ofTopic === undefined) ofTopics.set(item.topic, [each]);
      else ofTopic.push(each);
    }
    await Promise.all(
      [...ofTopics].map(async ([topic, ofTopic]) => {
        const durability = ofTopic.some(({ isSynced }) => isSynced) ? 'fsync' : 'stored';
        const stored = await append(
          topic,
          ofTopic.map(({ item }) => item),
          durability,
        );
        for (const [k, { i }] of ofTopic.entries()) {
          results[i] = E.isLeft(stored) ? stored : (stored.right[k] ?? impossible());
        }
      }),
    );
    return results;
  };

  return { one, many };
};

/** One of many that may be stored: which one, and whether it waits for the disk. */
interface Accepted {
  readonly i: number;
  readonly item: OnceItem<TopicEvent>;
  readonly isSynced: boolean;
}

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

const impossible = (): never => {
  throw new Error(
    'an append without an expected version cannot conflict and answers one place for each event',
  );
};
