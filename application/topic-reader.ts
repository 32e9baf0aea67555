/**
 * What of a topic a subscription is to be given next: the messages behind its position, or those that are due again,
 * without what has expired and with the gap told where something is missing, and why it is.
 */
import { function as F, taskEither as TE } from 'fp-ts';
import {
  before,
  instantOf,
  NO_OFFSET,
  toCursor,
  type Cursor,
  type Offset,
  type Recorded,
} from '../domain/message/offset.js';
import { dueAt, type Pending, type TopicPosition } from '../domain/subscription/topic-position.js';
import type { Instant } from '../domain/time.js';
import {
  isMessage,
  type MessagePublished,
  type MessagesLost,
  type TopicEvent,
} from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { Gap, GapReason, MessageBatch } from './ports/client-connection.js';
import {
  topicIdleMs,
  topicStream,
  type EventStore,
  type RetentionSettings,
  type StoreUnavailable,
} from './ports/event-store.js';

/** One step of a subscription through a topic. */
export interface Reading {
  /** To be given to the client; may be empty where everything that was read has expired. */
  readonly messages: readonly Recorded<MessagePublished>[];
  /** Where they stand, from whoever has it. */
  readonly cursors?: readonly Cursor[];
  readonly attempt: number;
  /** Where the position stands once this is done. */
  readonly next: Cursor;
  /** Due again, but expired or gone: nothing to wait for any more. */
  readonly dropped: readonly Offset[];
  /** How many messages were left out because their time to live was over. */
  readonly expired: number;
  /** What is missing in front of the messages. */
  readonly gap?: Gap;
}

/** Messages read in one go; more would hold the event loop. */
const PAGE = 100;
/** Large messages come in smaller pages: a page may overshoot a connection's buffer by this much. */
const PAGE_CHARACTERS_MAX = 256 * 1024;

/** Shared by what was told, of which nothing is ever dropped. */
const NOTHING_DROPPED: readonly Offset[] = [];

/** How much may be given now. */
export interface Room {
  /** Messages in all. */
  readonly most: number;
  /** Messages that were not delivered before: the rest of `maxInFlight`. */
  readonly fresh: number;
  /** Losses up to here were told: what the topic says of them comes later than the numbers that gave them away. */
  readonly lossesToldTo?: Offset | undefined;
}

/** Where topics are read from. */
export interface TopicSource {
  readonly store: EventStore;
  readonly retention: RetentionSettings;
}

/** Is there anything that `readNext` would read? A message that is due, or one above the position. */
export const hasNext = (
  position: TopicPosition,
  head: Cursor | undefined,
  room: Room,
  now: Instant,
): boolean =>
  (room.fresh > 0 && head !== undefined && head.offset > position.next.offset) ||
  (position.due.length > 0 && dueAt(position, now, 1).length > 0);

/**
 * Reads what comes next, as far as there is room. Undefined where there is nothing to give now: no message is due and
 * `head`, the last message known, is not above the position.
 */
export const readNext = (
  source: TopicSource,
  topic: TopicName,
  position: TopicPosition,
  head: Cursor | undefined,
  room: Room,
  now: Instant,
): TE.TaskEither<StoreUnavailable, Reading | undefined> => {
  const due = nearby(dueAt(position, now, Math.min(room.most, PAGE)));
  if (due.length > 0) return readDue(source, topic, position, due, now);
  const limit = Math.min(room.fresh, room.most, PAGE);
  if (limit <= 0 || head === undefined || head.offset <= position.next.offset) return TE.right(undefined);
  return F.pipe(
    read(source.store, topic, position.next, limit),
    TE.flatMap((events) => {
      const [first] = events;
      const isReborn =
        first !== undefined &&
        first.n <= position.next.n &&
        instantOf(position.next.offset) < instantOf(first.offset) - topicIdleMs(source.retention);
      // The topic was forgotten since, when nothing of it was left to be read, and has begun anew: nothing is lost.
      const from = isReborn ? before(first) : position.next;
      return toReading(source, topic, from, events, head, now, room.lossesToldTo ?? NO_OFFSET);
    }),
  );
};

/**
 * HOT PATH: what `readNext` would read, at once, where the topic has told it last and nothing but this can come next;
 * undefined where `readNext` has to look. tests/application/topic-reader.test.ts has both read the same topics.
 */
export const toldNext = (
  { next, due }: TopicPosition,
  { messages, cursors }: MessageBatch,
  { most, fresh }: Room,
): Reading | undefined => {
  const first = cursors[0];
  const last = cursors[cursors.length - 1];
  if (first === undefined || last === undefined || due.length > 0) return undefined;
  // Nothing is missing in front of it, or in it.
  if (first.n !== next.n + 1 || last.n !== next.n + cursors.length) return undefined;
  if (cursors.length > Math.min(most, fresh, PAGE)) return undefined;
  let characters = 0;
  for (const { event } of messages) {
    characters += event.payload.length;
    if (event.expiresAt !== undefined) return undefined;
  }
  return characters > PAGE_CHARACTERS_MAX
    ? undefined
    : { messages, cursors, attempt: 1, next: last, dropped: NOTHING_DROPPED, expired: 0 };
};

/**
 * The part of a run that lies close enough together to be read as one page. A lower `n` behind a higher one was counted
 * after the topic had lost its end, and says nothing about how far apart they are.
 */
const nearby = (due: readonly Pending[]): readonly Pending[] => {
  const first = due[0];
  if (first === undefined) return due;
  const end = due.findIndex(({ cursor }, i) => {
    const previous = due[i - 1];
    return cursor.n - first.cursor.n >= PAGE || (previous !== undefined && cursor.n <= previous.cursor.n);
  });
  return end === -1 ? due : due.slice(0, end);
};

const readDue = (
  source: TopicSource,
  topic: TopicName,
  position: TopicPosition,
  due: readonly Pending[],
  now: Instant,
): TE.TaskEither<StoreUnavailable, Reading> => {
  const first = due[0];
  const last = due[due.length - 1];
  if (first === undefined || last === undefined) throw new Error('readDue is only called with something due');
  const limit = last.cursor.n - first.cursor.n + 1;
  return F.pipe(
    read(source.store, topic, before(first.cursor), limit),
    TE.flatMap((events) => {
      const { missing, found } = foundOf(lookedAt(due, events, limit), events);
      const messages = unexpired(found, now);
      const given = new Set(messages.map(({ offset }) => offset));
      const reading: Reading = {
        messages,
        attempt: first.attempt,
        next: position.next,
        dropped: [...missing, ...found].map(({ offset }) => offset).filter((offset) => !given.has(offset)),
        expired: found.length - messages.length,
      };
      const [from] = missing;
      const to = missing[missing.length - 1];
      return from === undefined || to === undefined
        ? TE.right(reading)
        : withGap(source, topic, reading, { from: before(from), to }, events, now);
    }),
  );
};

/** Of what is due, what the page that was read says anything about: a full one ends where it ends. */
const lookedAt = (
  due: readonly Pending[],
  page: readonly Recorded<TopicEvent>[],
  limit: number,
): readonly Cursor[] => {
  const end = page.length < limit ? Infinity : (page[page.length - 1]?.offset ?? Infinity);
  return due.map(({ cursor }) => cursor).filter(({ offset }) => offset <= end);
};

/**
 * What is missing at the front, and the messages right behind it; the rest comes with the next reading. So a gap never
 * covers a message that is given.
 */
const foundOf = (
  wanted: readonly Cursor[],
  events: readonly Recorded<TopicEvent>[],
): { readonly missing: readonly Cursor[]; readonly found: readonly Recorded<MessagePublished>[] } => {
  const messages = new Map(events.filter(isMessage).map((message) => [message.offset, message]));
  const found: Recorded<MessagePublished>[] = [];
  let front = 0;
  for (const { offset, n } of wanted) {
    const message = messages.get(offset);
    if (message !== undefined) found.push(message);
    // What lies between was acknowledged: it is not missing.
    else if (found.length === 0 && (front === 0 || wanted[front - 1]?.n === n - 1)) front += 1;
    else break;
  }
  return { missing: wanted.slice(0, front), found: page(found) };
};

const read = (
  store: EventStore,
  topic: TopicName,
  after: Cursor,
  limit: number,
): TE.TaskEither<StoreUnavailable, readonly Recorded<TopicEvent>[]> => {
  const inMemory = store.peek(topicStream(topic), after, limit);
  return inMemory === undefined ? store.read(topicStream(topic), after.offset, limit) : TE.right(inMemory);
};

type Range = Pick<Gap, 'from' | 'to'>;

const toReading = (
  source: TopicSource,
  topic: TopicName,
  from: Cursor,
  events: readonly Recorded<TopicEvent>[],
  head: Cursor,
  now: Instant,
  lossesToldTo: Offset,
): TE.TaskEither<StoreUnavailable, Reading> => {
  const toldFirst = lossesFrom(events, 0);
  const run = runFrom(events, toldFirst.length);
  const found = page(run);
  const messages = unexpired(found, now);
  const [first] = found;
  const last = found[found.length - 1] ?? toldFirst[toldFirst.length - 1];
  const reading: Reading = {
    messages,
    attempt: 1,
    // Nothing is left of what `head` promised: everything up to it is gone.
    next: last === undefined ? head : toCursor(last),
    dropped: [],
    expired: found.length - messages.length,
  };
  if (last === undefined) return withGap(source, topic, reading, { from, to: head }, events, now);
  if (toldFirst.length > 0 || first === undefined) {
    const missed = toldFirst.filter(
      ({ event: { between } }) =>
        between === undefined || (between.to.offset !== from.offset && between.to.offset > lossesToldTo),
    );
    return TE.right(told(topic, reading, from, missed));
  }
  if (first.n === from.n + 1) return TE.right(reading);
  // The topic was counted on from a lower number. The loss may be told right behind the messages that came after it.
  const toldBehind = first.n <= from.n && found.length === run.length ? lossesFrom(events, run.length) : [];
  const lastTold = toldBehind[toldBehind.length - 1];
  if (lastTold !== undefined) {
    // Who stood where the loss ends has missed nothing of it.
    const missed = toldBehind.filter(
      ({ event, offset }) => (event.between?.to.offset ?? offset) > from.offset,
    );
    return TE.right(told(topic, { ...reading, next: toCursor(lastTold) }, from, missed));
  }
  const to = { offset: before(first).offset, n: Math.max(from.n, first.n - 1) };
  return withGap(source, topic, reading, { from, to }, events, now);
};

/** The losses that are told one after the other from `start` on. */
const lossesFrom = (
  events: readonly Recorded<TopicEvent>[],
  start: number,
): readonly Recorded<MessagesLost>[] => {
  const losses: Recorded<MessagesLost>[] = [];
  for (let i = start; i < events.length; i++) {
    const event = events[i];
    if (event === undefined || !isLoss(event)) break;
    losses.push(event);
  }
  return losses;
};

/** The messages from `start` on; what lies behind a hole or a loss comes with the next reading, which tells the gap. */
const runFrom = (
  events: readonly Recorded<TopicEvent>[],
  start: number,
): readonly Recorded<MessagePublished>[] => {
  const run: Recorded<MessagePublished>[] = [];
  const n = events[start - 1]?.n ?? (events[0]?.n ?? 0) - 1;
  for (let i = start; i < events.length; i++) {
    const event = events[i];
    if (event === undefined || !isMessage(event) || event.n !== n + 1 + run.length) break;
    run.push(event);
  }
  return run;
};

/**
 * With the gap that the losses make for who stands at `from`. Where others had appended behind a loss before it was
 * told, who comes to it from there cannot have noticed it.
 */
const told = (
  topic: TopicName,
  reading: Reading,
  from: Cursor,
  losses: readonly Recorded<MessagesLost>[],
): Reading => {
  const ranges = losses.map((loss): Range => {
    const { between } = loss.event;
    if (between === undefined) return { from, to: toCursor(loss) };
    const isInside = from.offset > between.from.offset && from.offset < between.to.offset;
    return isInside ? { from, to: between.to } : between;
  });
  const first = ranges[0];
  const last = ranges[ranges.length - 1];
  const reason = losses[losses.length - 1]?.event.reason;
  return first === undefined || last === undefined || reason === undefined
    ? reading
    : { ...reading, gap: { topic, from: first.from, to: last.to, reason } };
};

/** With a gap whose reason the topic does not tell of itself; that is rare enough to ask for its ends. */
const withGap = (
  source: TopicSource,
  topic: TopicName,
  reading: Reading,
  range: Range,
  events: readonly Recorded<TopicEvent>[],
  now: Instant,
): TE.TaskEither<StoreUnavailable, Reading> => {
  const reason = toldReason(range, events);
  return F.pipe(
    reason === undefined ? foundReason(source, topic, range, events, now) : TE.right(reason),
    TE.map((found) => ({ ...reading, gap: { topic, ...range, reason: found } })),
  );
};

/** The reason that a loss in the page gives. */
const toldReason = ({ to }: Range, events: readonly Recorded<TopicEvent>[]): GapReason | undefined => {
  const next = events.find(({ offset }) => offset >= to.offset);
  if (next !== undefined && isLoss(next)) return next.event.reason;
  return events
    .filter(isLoss)
    .find(({ event: { between } }) => between !== undefined && to.offset <= between.to.offset)?.event.reason;
};

/** The reason that shows in where the topic begins and ends. */
const foundReason = (
  { store, retention }: TopicSource,
  topic: TopicName,
  { from, to }: Range,
  events: readonly Recorded<TopicEvent>[],
  now: Instant,
): TE.TaskEither<StoreUnavailable, GapReason> =>
  F.pipe(
    store.bounds(topicStream(topic)),
    TE.map(({ first, last }) => {
      // The topic may be gone as a whole by now.
      if (instantOf(to.offset) < now - retention.messagesMs) return 'retention';
      const next = events.find(({ offset }) => offset > to.offset);
      // It ends before what is missing, or has given the same number a second time: it has lost its end, or all of it.
      if (last.offset < to.offset || (next !== undefined && next.n <= to.n)) {
        return last.n === 0 || first.offset >= from.offset ? 'stream_reset' : 'storage_rollback';
      }
      return to.offset <= first.offset ? 'retention' : 'removed';
    }),
  );

const isLoss = (recorded: Recorded<TopicEvent>): recorded is Recorded<MessagesLost> =>
  recorded.event.type === 'MessagesLost';

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
