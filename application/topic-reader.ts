/**
 * What of a topic a subscription is to be given next: the messages behind its position, or those that are due again,
 * without what has expired and with the gap told where something is missing.
 */
import { function as F, taskEither as TE } from 'fp-ts';
import { before, type Cursor, type Offset, type Recorded } from '../domain/message/offset.js';
import { dueAt, type Pending, type TopicPosition } from '../domain/subscription/topic-position.js';
import type { Instant } from '../domain/time.js';
import type { MessagePublished } from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { Gap } from './ports/client-connection.js';
import { topicStream, type EventStore, type StoreUnavailable } from './ports/event-store.js';

/** One step of a subscription through a topic. */
export interface Reading {
  /** To be given to the client; may be empty where everything that was read has expired. */
  readonly messages: readonly Recorded<MessagePublished>[];
  readonly attempt: number;
  /** Where the position stands once this is done. */
  readonly next: Cursor;
  /** Due again, but expired or gone: nothing to wait for any more. */
  readonly dropped: readonly Offset[];
  readonly gap?: Gap;
}

/** Messages read in one go; more would hold the event loop and, with large payloads, memory. */
const PAGE = 100;

/** How much may be given now. */
export interface Room {
  /** Messages in all. */
  readonly most: number;
  /** Messages that were not delivered before: the rest of `maxInFlight`. */
  readonly fresh: number;
}

/**
 * Reads what comes next, as far as there is room. Undefined where there is nothing to give now: no message is due and
 * `head`, the last message known, is not above the position.
 */
export const readNext = (
  store: EventStore,
  topic: TopicName,
  position: TopicPosition,
  head: Cursor | undefined,
  room: Room,
  now: Instant,
): TE.TaskEither<StoreUnavailable, Reading | undefined> => {
  const due = nearby(dueAt(position, now, Math.min(room.most, PAGE)));
  if (due.length > 0) return readDue(store, topic, position, due, now);
  const limit = Math.min(room.fresh, room.most, PAGE);
  if (limit <= 0 || head === undefined || head.offset <= position.next.offset) return TE.right(undefined);
  return F.pipe(
    read(store, topic, position.next, limit),
    TE.map((messages) => toReading(topic, position.next, messages, head, now)),
  );
};

/** The part of a run that lies close enough together to be read as one page. */
const nearby = (due: readonly Pending[]): readonly Pending[] => {
  const first = due[0];
  return first === undefined ? due : due.filter(({ cursor }) => cursor.n - first.cursor.n < PAGE);
};

const readDue = (
  store: EventStore,
  topic: TopicName,
  position: TopicPosition,
  due: readonly Pending[],
  now: Instant,
): TE.TaskEither<StoreUnavailable, Reading> => {
  const first = due[0];
  const last = due[due.length - 1];
  if (first === undefined || last === undefined) throw new Error('readDue is only called with something due');
  const wanted = new Set(due.map(({ cursor }) => cursor.offset));
  return F.pipe(
    read(store, topic, before(first.cursor), last.cursor.n - first.cursor.n + 1),
    TE.map((found) => {
      const messages = found.filter((message) => wanted.has(message.offset) && !isExpired(message, now));
      for (const { offset } of messages) wanted.delete(offset);
      return { messages, attempt: first.attempt, next: position.next, dropped: [...wanted] };
    }),
  );
};

const read = (
  store: EventStore,
  topic: TopicName,
  after: Cursor,
  limit: number,
): TE.TaskEither<StoreUnavailable, readonly Recorded<MessagePublished>[]> => {
  const inMemory = store.peek(topicStream(topic), after, limit);
  return inMemory === undefined ? store.read(topicStream(topic), after.offset, limit) : TE.right(inMemory);
};

const toReading = (
  topic: TopicName,
  from: Cursor,
  found: readonly Recorded<MessagePublished>[],
  head: Cursor,
  now: Instant,
): Reading => {
  const first = found[0];
  const last = found[found.length - 1];
  // Nothing is left of what `head` promised: everything up to it is gone.
  const next = last === undefined ? head : { offset: last.offset, n: last.n };
  const to = first === undefined ? head : before(first);
  const isGap = first === undefined || first.n !== from.n + 1;
  return {
    messages: found.some(({ event }) => event.expiresAt !== undefined)
      ? found.filter((message) => !isExpired(message, now))
      : found,
    attempt: 1,
    next,
    dropped: [],
    ...(isGap ? { gap: { topic, from, to, reason: 'trimmed' } } : {}),
  };
};

export const isExpired = ({ event }: Recorded<MessagePublished>, now: Instant): boolean =>
  event.expiresAt !== undefined && event.expiresAt <= now;
