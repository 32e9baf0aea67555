/**
 * Where one subscription stands in one topic, and the ways it can move. A position is a number and the exceptions to
 * it: everything up to `next` has been looked at, and all of that is settled except what is in flight or due again.
 *
 * HOT PATH, budget 0.5 µs per delivered and acknowledged message in order (npm run bench -- --scenario acked): values are
 * immutable; a batch carries its cursors by reference, so that a thousand subscribers share one array, and what is
 * acknowledged in order moves a number and copies none of them.
 */
import { before, type Cursor, type Offset } from '../message/offset.js';
import type { Instant } from '../time.js';

/** Dispatched together; deadlines and attempts are the same for all of it. `cursors` ascend. */
export interface InFlightBatch {
  readonly cursors: readonly Cursor[];
  /** Those in front of this index are settled. There is always one that is not. */
  readonly from: number;
  readonly attempt: number;
  readonly deadline: Instant;
}

/** To be dispatched again, as attempt number `attempt`, at or after `notBefore`. */
export interface Pending {
  readonly cursor: Cursor;
  readonly attempt: number;
  readonly notBefore: Instant;
}

export interface TopicPosition {
  readonly next: Cursor;
  /** In dispatch order. */
  readonly inFlight: readonly InFlightBatch[];
  /** How many messages are in `inFlight`. */
  readonly inFlightCount: number;
  /** Ascending by offset. */
  readonly due: readonly Pending[];
}

/** Shared by all positions: most of them wait for nothing most of the time, and two arrays each would add up. */
const NOTHING: readonly never[] = [];

export const positionAt = (next: Cursor): TopicPosition => ({
  next,
  inFlight: NOTHING,
  inFlightCount: 0,
  due: NOTHING,
});

/** As a snapshot has it. */
export const restored = (
  next: Cursor,
  batches: readonly Omit<InFlightBatch, 'from'>[],
  due: readonly Pending[],
): TopicPosition => {
  const inFlight = batches.map(({ cursors, attempt, deadline }) => ({ cursors, from: 0, attempt, deadline }));
  return { next, inFlight, inFlightCount: countOf(inFlight), due };
};

/** Those of a batch that are not settled. */
export const waitingOf = ({ cursors, from }: InFlightBatch): readonly Cursor[] =>
  from === 0 ? cursors : cursors.slice(from);

/** How many messages wait for an acknowledgement; the number that `maxInFlight` bounds. */
export const unacknowledged = (position: TopicPosition): number =>
  position.inFlightCount + position.due.length;

/** The place up to which everything is settled. */
export const floorOf = (position: TopicPosition): Cursor => {
  let lowest: Cursor | undefined = position.due[0]?.cursor;
  for (const batch of position.inFlight) {
    const first = batch.cursors[batch.from];
    if (first !== undefined && (lowest === undefined || first.offset < lowest.offset)) lowest = first;
  }
  return lowest === undefined ? position.next : before(lowest);
};

/** Looked at up to `next`, and nothing of it is waited for. */
export const advanced = (position: TopicPosition, next: Cursor): TopicPosition => {
  const { inFlight, inFlightCount, due } = position;
  return next.offset > position.next.offset ? { next, inFlight, inFlightCount, due } : position;
};

/** Looked at up to `next`; `cursors`, new or due again, are in flight now. */
export const dispatched = (
  position: TopicPosition,
  next: Cursor,
  cursors: readonly Cursor[],
  attempt: number,
  deadline: Instant,
): TopicPosition => ({
  next: next.offset > position.next.offset ? next : position.next,
  inFlight: [...position.inFlight, { cursors, from: 0, attempt, deadline }],
  inFlightCount: position.inFlightCount + cursors.length,
  due:
    position.due.length === 0
      ? position.due
      : withoutPending(position.due, new Set(cursors.map((c) => c.offset))),
});

/** What an acknowledgement, rejection or extension found: ids never delivered here are `unknown`. */
export interface Settlement {
  readonly known: readonly Offset[];
  /** Settled already: acknowledged before, or skipped. */
  readonly settled: readonly Offset[];
  readonly unknown: readonly Offset[];
}

/** Sorts `offsets` by what this position knows of them. */
export const settlementOf = (position: TopicPosition, offsets: readonly Offset[]): Settlement => {
  const known: Offset[] = [];
  const settled: Offset[] = [];
  const unknown: Offset[] = [];
  for (const offset of offsets) {
    if (offset > position.next.offset) unknown.push(offset);
    else if (isPending(position, offset)) known.push(offset);
    else settled.push(offset);
  }
  return { known, settled, unknown };
};

/** Is it the oldest of what is in flight? Then it is settled in time that does not depend on how much there is. */
export const isHead = ({ inFlight }: TopicPosition, offset: Offset): boolean => {
  const head = inFlight[0];
  return head?.cursors[head.from]?.offset === offset;
};

/** Without `offsets`: they are settled. In order and one by one this is O(batches in flight). */
export const settled = (position: TopicPosition, offsets: readonly Offset[]): TopicPosition => {
  const { next, due } = position;
  const only = offsets[0];
  if (only !== undefined && offsets.length === 1 && isHead(position, only)) {
    return {
      next,
      inFlight: withoutHead(position.inFlight),
      inFlightCount: position.inFlightCount - 1,
      due,
    };
  }
  const gone = new Set(offsets);
  const inFlight = withoutOffsets(position.inFlight, gone);
  return { next, inFlight, inFlightCount: countOf(inFlight), due: withoutPending(due, gone) };
};

/** `offsets` wait no longer: they are due again, as their next attempt, at or after `notBefore`. */
export const returned = (
  position: TopicPosition,
  offsets: readonly Offset[],
  notBefore: Instant,
): TopicPosition => {
  const back = new Set(offsets);
  const due: Pending[] = position.due.map((pending) =>
    back.has(pending.cursor.offset) ? { ...pending, notBefore } : pending,
  );
  for (const batch of position.inFlight) {
    for (const cursor of waitingOf(batch)) {
      if (back.has(cursor.offset)) due.push({ cursor, attempt: batch.attempt + 1, notBefore });
    }
  }
  due.sort((a, b) => a.cursor.offset - b.cursor.offset);
  const inFlight = withoutOffsets(position.inFlight, back);
  return { next: position.next, inFlight, inFlightCount: countOf(inFlight), due };
};

/** `offsets` are in flight until `deadline`, also those that were due again and not dispatched yet. */
export const extended = (
  position: TopicPosition,
  offsets: readonly Offset[],
  deadline: Instant,
): TopicPosition => {
  const wanted = new Set(offsets);
  const inFlight: InFlightBatch[] = [];
  for (const batch of position.inFlight) {
    const cursors = waitingOf(batch).filter(({ offset }) => wanted.has(offset));
    if (cursors.length === 0) {
      inFlight.push(batch);
      continue;
    }
    const others = waitingOf(batch).filter(({ offset }) => !wanted.has(offset));
    if (others.length > 0) inFlight.push({ ...batch, cursors: others, from: 0 });
    inFlight.push({ ...batch, cursors, from: 0, deadline });
  }
  for (const { cursor, attempt } of position.due) {
    if (wanted.has(cursor.offset))
      inFlight.push({ cursors: [cursor], from: 0, attempt: attempt - 1, deadline });
  }
  return {
    next: position.next,
    inFlight,
    inFlightCount: countOf(inFlight),
    due: withoutPending(position.due, wanted),
  };
};

/** Offsets that were delivered equally often, so that they wait equally long for their next delivery. */
export interface Delivered {
  readonly attempt: number;
  readonly offsets: readonly Offset[];
}

/** Everything in flight whose deadline has passed. */
export const expiredAt = (position: TopicPosition, now: Instant): readonly Delivered[] =>
  byAttempt(
    position.inFlight
      .filter(({ deadline }) => deadline <= now)
      .map((batch) => ({ attempt: batch.attempt, cursors: waitingOf(batch) })),
  );

/** Is there anything in flight whose deadline has passed? */
export const hasExpired = (position: TopicPosition, now: Instant): boolean =>
  position.inFlight.some((batch) => batch.deadline <= now);

/** Those of `offsets` that wait for an answer: in flight, or due again after that many deliveries. */
export const deliveredOf = (position: TopicPosition, offsets: readonly Offset[]): readonly Delivered[] => {
  const wanted = new Set(offsets);
  const inFlight = position.inFlight.map((batch) => ({ attempt: batch.attempt, cursors: waitingOf(batch) }));
  const due = position.due.map(({ cursor, attempt }) => ({ attempt: attempt - 1, cursors: [cursor] }));
  return byAttempt(
    [...inFlight, ...due].map(({ attempt, cursors }) => ({
      attempt,
      cursors: cursors.filter(({ offset }) => wanted.has(offset)),
    })),
  );
};

const byAttempt = (batches: readonly Pick<InFlightBatch, 'cursors' | 'attempt'>[]): readonly Delivered[] => {
  const groups = new Map<number, Offset[]>();
  for (const { cursors, attempt } of batches) {
    const group = groups.get(attempt) ?? [];
    for (const { offset } of cursors) group.push(offset);
    if (group.length > 0) groups.set(attempt, group);
  }
  return [...groups].map(([attempt, offsets]) => ({ attempt, offsets }));
};

/** Everything that waits for an answer, up to and including `offset`. */
export const unacknowledgedUpTo = (position: TopicPosition, offset: Offset): readonly Offset[] =>
  [...inFlightOffsets(position), ...position.due.map(({ cursor }) => cursor.offset)].filter(
    (each) => each <= offset,
  );

/** When the next deadline or delay ends; undefined where nothing waits. */
export const nextWake = (position: TopicPosition): Instant | undefined => {
  let wake: Instant | undefined;
  for (const { deadline } of position.inFlight) if (wake === undefined || deadline < wake) wake = deadline;
  for (const { notBefore } of position.due) if (wake === undefined || notBefore < wake) wake = notBefore;
  return wake;
};

/** The longest run at the front of what is due at `now` that can go out together: same attempt, at most `limit`. */
export const dueAt = (position: TopicPosition, now: Instant, limit: number): readonly Pending[] => {
  const run: Pending[] = [];
  for (const pending of position.due) {
    if (run.length === limit) break;
    if (pending.notBefore > now) continue;
    if (run[0] !== undefined && run[0].attempt !== pending.attempt) break;
    run.push(pending);
  }
  return run;
};

/** Are all of `cursors` new here, in order, and none of them above `next`? */
export const areNew = (position: TopicPosition, next: Cursor, cursors: readonly Cursor[]): boolean => {
  let last = position.next.offset;
  for (const { offset } of cursors) {
    if (offset <= last) return false;
    last = offset;
  }
  return last <= next.offset;
};

/** Are all of `cursors` due at `now`, as this attempt, and in order? One walk along both, since both ascend. */
export const areDue = (
  { due }: TopicPosition,
  cursors: readonly Cursor[],
  attempt: number,
  now: Instant,
): boolean => {
  let at = 0;
  for (const { offset } of cursors) {
    let pending = due[at++];
    while (pending !== undefined && pending.cursor.offset < offset) pending = due[at++];
    if (pending?.cursor.offset !== offset || pending.attempt !== attempt || pending.notBefore > now)
      return false;
  }
  return true;
};

/** What a successor must know: everything that was sent and not settled, to be sent again as its next attempt. */
export const pendingOf = (position: TopicPosition): readonly Pending[] =>
  position.inFlight.length === 0 ? position.due : returned(position, inFlightOffsets(position), 0).due;

const inFlightOffsets = ({ inFlight }: TopicPosition): readonly Offset[] =>
  inFlight.flatMap((batch) => waitingOf(batch).map(({ offset }) => offset));

const isPending = (position: TopicPosition, offset: Offset): boolean =>
  position.inFlight.some((batch) => {
    const { cursors, from } = batch;
    const first = cursors[from];
    const last = cursors[cursors.length - 1];
    if (first === undefined || last === undefined || offset < first.offset || offset > last.offset)
      return false;
    return first.offset === offset || waitingOf(batch).some((cursor) => cursor.offset === offset);
  }) || position.due.some((pending) => pending.cursor.offset === offset);

/** Without the oldest one. */
const withoutHead = (inFlight: readonly InFlightBatch[]): readonly InFlightBatch[] => {
  const [head, ...others] = inFlight;
  if (head === undefined) return inFlight;
  const { cursors, attempt, deadline } = head;
  const from = head.from + 1;
  return from === cursors.length ? others : [{ cursors, from, attempt, deadline }, ...others];
};

const withoutOffsets = (
  inFlight: readonly InFlightBatch[],
  gone: ReadonlySet<Offset>,
): readonly InFlightBatch[] =>
  inFlight.flatMap((batch) => {
    const before = waitingOf(batch);
    const cursors = before.filter((cursor) => !gone.has(cursor.offset));
    if (cursors.length === before.length) return [batch];
    return cursors.length === 0 ? [] : [{ ...batch, cursors, from: 0 }];
  });

const withoutPending = (due: readonly Pending[], gone: ReadonlySet<Offset>): readonly Pending[] =>
  due.filter((pending) => !gone.has(pending.cursor.offset));

/** How many messages of these batches are not settled. */
const countOf = (inFlight: readonly InFlightBatch[]): number =>
  inFlight.reduce((count, { cursors, from }) => count + cursors.length - from, 0);
