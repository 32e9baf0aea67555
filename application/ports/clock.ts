/**
 * Clock: time, and being called later.
 * Promises: `now` is the wall clock; `after` measures elapsed time and is not fooled when the wall clock is set.
 * Does not promise: that a call comes early; under load it comes late.
 */
import type { Instant, Milliseconds } from '../../domain/time.js';

export type Cancel = () => void;

export interface Clock {
  now(): Instant;
  /** Calls `task` once after `delayMs`, unless cancelled. */
  after(delayMs: Milliseconds, task: () => void): Cancel;
  /** Resolves once everything else that waits for its turn in this process has had it. */
  pause(): Promise<void>;
}
