/**
 * The payload of every message: a sequence number to check deliveries with and the time it was sent at, both of fixed
 * width, so that they are written into and read out of bytes in place.
 */
import { readDigits, writeDigits } from './digits.js';

/** Nothing else in a frame contains it, so the number behind it is found by looking for one byte. */
export const MARK = 0x7e;
const SEQUENCE_DIGITS = 10;
const TIME_DIGITS = 13;
const TIME_AFTER_MARK = 1 + SEQUENCE_DIGITS + '","at":"'.length;

/** What every payload begins with, with zeros where the numbers go. */
export const PAYLOAD_HEAD = `{"n":"~${'0'.repeat(SEQUENCE_DIGITS)}","at":"${'0'.repeat(TIME_DIGITS)}"`;

const padded = (pad: string): string => `${PAYLOAD_HEAD},"pad":"${pad}"}`;

export const PAYLOAD_BYTES_MIN = padded('').length;

export const payloadOf = (bytes: number): string => padded('x'.repeat(bytes - PAYLOAD_BYTES_MIN));

/** Writes both numbers of the payload that begins at `start`. */
export const writePayload = (bytes: Buffer, start: number, sequence: number, sentAtMs: number): void => {
  const mark = start + '{"n":"'.length;
  writeDigits(bytes, mark + 1, SEQUENCE_DIGITS, sequence);
  writeDigits(bytes, mark + TIME_AFTER_MARK, TIME_DIGITS, Math.round(sentAtMs * 1000));
};

/** Finds the mark in frames that look alike: in most of them where it was before, or a few bytes behind. */
export class PayloadFinder {
  private least = Infinity;

  /** Where the mark is in `bytes` from `start` to `end`; -1 where there is none. */
  find(bytes: Buffer, start: number, end: number): number {
    for (let at = start + this.least; at < end; at++) if (bytes[at] === MARK) return at;
    const at = bytes.subarray(start, end).indexOf(MARK);
    if (at === -1) return -1;
    this.least = at;
    return start + at;
  }
}

export const sequenceAt = (bytes: Buffer, mark: number): number =>
  readDigits(bytes, mark + 1, SEQUENCE_DIGITS);

/** On the clock of this process (`performance.now`). */
export const sentAtMs = (bytes: Buffer, mark: number): number =>
  readDigits(bytes, mark + TIME_AFTER_MARK, TIME_DIGITS) / 1000;
