/**
 * Publish: one message, or many at once. The answer follows the append, never precedes it: a receipt means stored.
 */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import { instantOf, type Cursor, type Offset } from '../domain/message/offset.js';
import type { Instant } from '../domain/time.js';
import type { TopicEvent } from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { topic as topicDecider, type Publication, type PublishLimits } from '../domain/topic/topic.js';
import { mayPublish } from './authorise.js';
import type { Principal } from './ports/authenticator.js';
import type { Clock } from './ports/clock.js';
import { topicStream, type EventStore, type StoreUnavailable } from './ports/event-store.js';
import type { Metrics } from './ports/metrics.js';
import type { PublishRefusal } from './refusals.js';

export interface Receipt {
  readonly topic: TopicName;
  readonly offset: Offset;
  /** When the message was stored. */
  readonly publishedAt: Instant;
}

/** A message and where it shall go. */
export interface AddressedPublication {
  readonly topic: TopicName;
  readonly publication: Publication;
}

export interface PublishMessages {
  /** Stores one message. */
  readonly one: (principal: Principal, item: AddressedPublication) => TE.TaskEither<PublishRefusal, Receipt>;
  /** Stores what it may, and answers for each item in the order given. Order is kept within a topic. */
  readonly many: (
    principal: Principal,
    items: readonly AddressedPublication[],
  ) => () => Promise<readonly E.Either<PublishRefusal, Receipt>[]>;
}

export const makePublishMessages = (
  store: EventStore,
  clock: Clock,
  metrics: Metrics,
  limits: PublishLimits,
): PublishMessages => {
  const accept = (
    principal: Principal,
    item: AddressedPublication,
  ): E.Either<PublishRefusal, readonly TopicEvent[]> =>
    F.pipe(
      mayPublish(principal, item.topic),
      E.flatMap((): E.Either<PublishRefusal, readonly TopicEvent[]> =>
        topicDecider.decide(topicDecider.initialState, {
          type: 'PublishMessages',
          publications: [item.publication],
          limits,
          now: clock.now(),
        }),
      ),
    );

  const append = (
    topic: TopicName,
    events: readonly TopicEvent[],
  ): TE.TaskEither<StoreUnavailable, readonly Receipt[]> =>
    F.pipe(
      store.append(topicStream(topic), events),
      TE.mapLeft((failure) => (failure._tag === 'StoreUnavailable' ? failure : impossible())),
      TE.map((cursors) => cursors.map((cursor) => toReceipt(topic, cursor))),
      TE.tapIO((receipts) => () => metrics.messagesReceived(receipts.length)),
    );

  const one: PublishMessages['one'] = (principal, item) =>
    F.pipe(
      TE.fromEither(accept(principal, item)),
      TE.flatMap((events) => append(item.topic, events)),
      TE.map(([receipt]) => receipt ?? impossible()),
    );

  const many: PublishMessages['many'] = (principal, items) => async () => {
    const accepted = items.map((item) => accept(principal, item));
    const results: E.Either<PublishRefusal, Receipt>[] = [];
    await Promise.all(
      [...new Set(items.map(({ topic }) => topic))].map(async (topic) => {
        const indexes = indexesOf(items, topic).filter((i) => accepted[i]?._tag === 'Right');
        const events = indexes.flatMap((i) =>
          F.pipe(
            accepted[i] ?? impossible(),
            E.getOrElseW(() => []),
          ),
        );
        if (events.length === 0) return;
        const stored = await append(topic, events)();
        for (const [k, i] of indexes.entries()) {
          results[i] = F.pipe(
            stored,
            E.map((receipts) => receipts[k] ?? impossible()),
          );
        }
      }),
    );
    for (const [i, outcome] of accepted.entries()) if (E.isLeft(outcome)) results[i] = outcome;
    return results;
  };

  return { one, many };
};

const toReceipt = (topic: TopicName, { offset }: Cursor): Receipt => ({
  topic,
  offset,
  publishedAt: instantOf(offset),
});

const indexesOf = (items: readonly AddressedPublication[], topic: TopicName): readonly number[] =>
  [...items.keys()].filter((i) => items[i]?.topic === topic);

const impossible = (): never => {
  throw new Error(
    'an append without an expected version cannot conflict and answers one place for each event',
  );
};
