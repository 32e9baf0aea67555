/**
 * Quantities as people write them, `30s` and `256MB`, to the milliseconds and bytes that the service counts in. The
 * unit is part of the text, so nobody has to know what a bare number would have meant.
 */
import { either as E } from 'fp-ts';
import type { Milliseconds } from '../../domain/time.js';

const MILLISECONDS_PER: Readonly<Record<string, Milliseconds>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Powers of 1024, as in Valkey's own configuration file, so that the same text means the same in both. */
const BYTES_PER: Readonly<Record<string, number>> = { KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

const QUANTITY_PATTERN = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/;

const DURATION_HINT = 'such as 500ms, 30s, 10m, 24h or 7d';
const SIZE_HINT = 'such as 1048576, 64KB, 1MB or 1GB';

/** `500ms`, `30s`, `10m`, `24h`, `7d`, and 0, which is the same in every unit. The left side says what is wrong. */
export const parseDuration = (input: unknown): E.Either<string, Milliseconds> => {
  if (input === 0 || input === '0') return E.right(0);
  if (typeof input === 'number') return E.left(`needs a unit, ${DURATION_HINT}`);
  return quantity(input, MILLISECONDS_PER, `must be a duration ${DURATION_HINT}`);
};

/** A whole number of bytes, or one with a unit: `64KB`, `1MB`, `1GB`. The left side says what is wrong. */
export const parseSize = (input: unknown): E.Either<string, number> =>
  typeof input === 'number' && Number.isSafeInteger(input) && input >= 0
    ? E.right(input)
    : quantity(input, BYTES_PER, `must be a size in bytes ${SIZE_HINT}`);

const quantity = (
  input: unknown,
  units: Readonly<Record<string, number>>,
  complaint: string,
): E.Either<string, number> => {
  const [, amount, unit] = typeof input === 'string' ? (QUANTITY_PATTERN.exec(input.trim()) ?? []) : [];
  const factor = unit !== undefined && Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (amount === undefined || factor === undefined) return E.left(complaint);
  const value = Number(amount) * factor;
  return Number.isSafeInteger(value) ? E.right(value) : E.left(complaint);
};

/** The shortest text of a duration: 1_800_000 is `30m`. Total for whole milliseconds. */
export const toDurationText = (durationMs: Milliseconds): string =>
  toText(durationMs, MILLISECONDS_PER, 'ms');

/** The shortest text of a size: 1_048_576 is `1MB`. Total for whole bytes. */
export const toSizeText = (bytes: number): string => toText(bytes, BYTES_PER, '');

const toText = (value: number, units: Readonly<Record<string, number>>, smallest: string): string => {
  const fitting = Object.entries(units).filter(([, factor]) => value >= factor && value % factor === 0);
  const [unit, factor] = fitting.at(-1) ?? [smallest, 1];
  return `${value / factor}${unit}`;
};
