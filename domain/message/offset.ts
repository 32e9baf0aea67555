/**
 * Where a message stands in its stream. An offset is one safe integer, `milliseconds * 1024 + sequence`; on the wire
 * and as a Valkey entry id it reads `ms-seq`. The store assigns `max(last + 1, now)`: offsets only grow, survive a
 * lost log tail without being reused, and can be sought by time. `n` counts every event ever appended to the stream;
 * two neighbours whose `n` are not consecutive prove that something between them is gone.
 */
import { either as E } from 'fp-ts';
import type { Branded } from '../branded.js';
import type { Instant } from '../time.js';

export type Offset = Branded<number, 'Offset'>;

/** A place in a stream: the event at `offset` is the `n`th one ever appended. `{0, 0}` is before the first. */
export interface Cursor {
  readonly offset: Offset;
  readonly n: number;
}

/** An event with the place that the store gave it. */
export interface Recorded<Event> extends Cursor {
  readonly event: Event;
}

export interface InvalidOffset {
  readonly _tag: 'InvalidOffset';
  readonly input: string;
}

const SEQUENCES_PER_MILLISECOND = 1024;

export const NO_OFFSET = 0 as Offset;
export const BEGINNING: Cursor = { offset: NO_OFFSET, n: 0 };

/** The first offset of an instant; every message published at or after `instant` is at or above it. */
export const offsetAt = (instant: Instant): Offset =>
  (Math.floor(instant) * SEQUENCES_PER_MILLISECOND) as Offset;

/** The instant at which the message at `offset` was stored, to the millisecond. */
export const instantOf = (offset: Offset): Instant => Math.floor(offset / SEQUENCES_PER_MILLISECOND);

/** The offset that a store gives the next event. */
export const nextOffset = (last: Offset, now: Instant): Offset => Math.max(last + 1, offsetAt(now)) as Offset;

/** The place right before `cursor`: everything at or below it lies in front of the event there. */
export const before = (cursor: Cursor): Cursor => ({
  offset: (cursor.offset - 1) as Offset,
  n: cursor.n - 1,
});

/** The place alone, of whatever has one. */
export const toCursor = ({ offset, n }: Cursor): Cursor => ({ offset, n });

/** `ms-seq`, as clients and Valkey see it. */
export const formatOffset = (offset: Offset): string =>
  `${Math.floor(offset / SEQUENCES_PER_MILLISECOND)}-${offset % SEQUENCES_PER_MILLISECOND}`;

const OFFSET_PATTERN = /^(0|[1-9]\d{0,12})-(0|[1-9]\d{0,3})$/;

/** Reads `ms-seq` with `seq` below 1024. */
export const parseOffset = (input: string): E.Either<InvalidOffset, Offset> => {
  const match = OFFSET_PATTERN.exec(input);
  const sequence = Number(match?.[2]);
  const offset = Number(match?.[1]) * SEQUENCES_PER_MILLISECOND + sequence;
  return match !== null && sequence < SEQUENCES_PER_MILLISECOND && Number.isSafeInteger(offset)
    ? E.right(offset as Offset)
    : E.left({ _tag: 'InvalidOffset', input });
};
