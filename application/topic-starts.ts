/** Turns where a client wants to begin into a place in each topic. */
import { array as A, function as F, taskEither as TE } from 'fp-ts';
import type { Cursor, Offset } from '../domain/message/offset.js';
import type { Start } from '../domain/subscription/start.js';
import type { TopicStart } from '../domain/subscription/subscription-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { topicStream, type EventStore, type StoreUnavailable } from './ports/event-store.js';

export const topicStarts = (
  store: EventStore,
  topics: readonly TopicName[],
  start: Start,
): TE.TaskEither<StoreUnavailable, readonly TopicStart[]> =>
  F.pipe(
    [...topics],
    A.traverse(TE.ApplicativePar)((topic) =>
      F.pipe(
        placeOf(store, topic, start),
        TE.map((at): TopicStart => ({ topic, at })),
      ),
    ),
  );

const placeOf = (
  store: EventStore,
  topic: TopicName,
  start: Start,
): TE.TaskEither<StoreUnavailable, Cursor> =>
  F.pipe(
    store.bounds(topicStream(topic)),
    TE.flatMap(({ first, last }): TE.TaskEither<StoreUnavailable, Cursor> => {
      if (start.at === 'latest') return TE.right(last);
      if (start.at === 'earliest' || start.after < first.offset) return TE.right(first);
      return start.after >= last.offset ? TE.right(last) : seek(store, topic, start.after, last);
    }),
  );

/** The first message behind `after` tells how many lie in front of it. */
const seek = (
  store: EventStore,
  topic: TopicName,
  after: Offset,
  last: Cursor,
): TE.TaskEither<StoreUnavailable, Cursor> =>
  F.pipe(
    store.read(topicStream(topic), after, 1),
    TE.map(([next]) => (next === undefined ? last : { offset: after, n: next.n - 1 })),
  );
