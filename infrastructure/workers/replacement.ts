/**
 * What becomes of a worker that has ended: how long until it is replaced, and when to give up. One that has worked for
 * a while is replaced at once. One that ends as soon as it has begun is waited for, longer each time, and after a few
 * times in a row the service is better ended: what starts it is told by the exit code, and can do what a fifth attempt
 * cannot.
 */
import { option as O } from 'fp-ts';
import type { Milliseconds } from '../../domain/time.js';

export interface End {
  /** With exit code 0: somebody asked it to. */
  readonly isInOrder: boolean;
  /** Since it listened; 0 where it never has. */
  readonly servedMs: Milliseconds;
}

export interface Replacement {
  readonly delayMs: Milliseconds;
  /** Ends in a row as soon as it had begun, this one included. */
  readonly failures: number;
}

/** Shorter than this is no service. */
const SERVED_MS_MIN: Milliseconds = 5_000;
const DELAY_MS: Milliseconds = 100;
export const FAILURES_MAX = 5;

/** None: give up. `failures` is how many there were in a row before this end. */
export const replacementOf = ({ isInOrder, servedMs }: End, failures: number): O.Option<Replacement> => {
  if (isInOrder || servedMs >= SERVED_MS_MIN) return O.some({ delayMs: 0, failures: 0 });
  const failed = failures + 1;
  return failed < FAILURES_MAX ? O.some({ delayMs: DELAY_MS * 2 ** failures, failures: failed }) : O.none;
};
