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

/** Messages read in one go; more would hold the event loop. */
const PAGE = 100;
/** Large messages come in smaller pages: a page may overshoot a connection's buffer by this much. */
const PAGE_CHARACTERS_MAX = 256 * 1024;

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
    TE.map((messages) => toReading(topic, position.next, upToHole(messages), head, now)),
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
    TE.map((read) => {
      const found = page(read.filter(({ offset }) => wanted.has(offset)));
      const through = found.length === 0 ? last.cursor.offset : (found[found.length - 1]?.offset ?? 0);
      const messages = unexpired(found, now);
      const looked = due.filter(({ cursor }) => cursor.offset <= through);
      const present = new Set(found.map(({ offset }) => offset));
      const given = new Set(messages.map(({ offset }) => offset));
      const missing = looked.map(({ cursor }) => cursor).filter(({ offset }) => !present.has(offset));
      return {
        messages,
        attempt: first.attempt,
        next: position.next,
        dropped: looked.map(({ cursor }) => cursor.offset).filter((offset) => !given.has(offset)),
        ...gapOf(topic, missing),
      };
    }),
  );
};

/** Trimming takes the oldest first, so what is missing lies together; what is between was settled before. */
const gapOf = (topic: TopicName, missing: readonly Cursor[]): { readonly gap?: Gap } => {
  const first = missing[0];
  const last = missing[missing.length - 1];
  return first === undefined || last === undefined
    ? {}
    : { gap: { topic, from: before(first), to: last, reason: 'trimmed' } };
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

/** What lies behind a hole comes with the next reading, which tells the gap. */
const upToHole = (found: readonly Recorded<MessagePublished>[]): readonly Recorded<MessagePublished>[] => {
  const first = found[0];
  const hole = first === undefined ? -1 : found.findIndex(({ n }, i) => n !== first.n + i);
  return hole === -1 ? found : found.slice(0, hole);
};

const toReading = (
  topic: TopicName,
  from: Cursor,
  read: readonly Recorded<MessagePublished>[],
  head: Cursor,
  now: Instant,
): Reading => {
  const found = page(read);
  const first = found[0];
  const last = found[found.length - 1];
  // Nothing is left of what `head` promised: everything up to it is gone.
  const next = last === undefined ? head : { offset: last.offset, n: last.n };
  const to = first === undefined ? head : before(first);
  const isGap = first === undefined || first.n !== from.n + 1;
  return {
    messages: unexpired(found, now),
    attempt: 1,
    next,
    dropped: [],
    ...(isGap ? { gap: { topic, from, to, reason: 'trimmed' } } : {}),
  };
};

/** The front of what was read, as much of it as may be given at once; at least one message. */
const page = (read: readonly Recorded<MessagePublished>[]): readonly Recorded<MessagePublished>[] => {
  let characters = 0;
  const end = read.findIndex(({ event }, i) => {
    characters += event.payload.length;
    return i > 0 && characters > PAGE_CHARACTERS_MAX;
  });
  return end === -1 ? read : read.slice(0, end);
};

const unexpired = (
  messages: readonly Recorded<MessagePublished>[],
  now: Instant,
): readonly Recorded<MessagePublished>[] =>
  messages.some(({ event }) => event.expiresAt !== undefined)
    ? messages.filter((message) => !isExpired(message, now))
    : messages;

export const isExpired = ({ event }: Recorded<MessagePublished>, now: Instant): boolean =>
  event.expiresAt !== undefined && event.expiresAt <= now;
