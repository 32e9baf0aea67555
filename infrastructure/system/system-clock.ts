/** SystemClock: the machine's time, and Node's timers, which are monotonic. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import type { Instant, Milliseconds } from '../../domain/time.js';

/** Node fires a timer of more than this at once (it keeps delays in a signed 32-bit integer). */
const TIMER_MS_MAX = 2 ** 31 - 1;

export class SystemClock implements Clock {
  now(): Instant {
    return Date.now();
  }

  /** A longer delay than a timer can hold is waited for in several. */
  after(delayMs: Milliseconds, task: () => void): Cancel {
    if (delayMs > TIMER_MS_MAX) return afterSeveral(delayMs, task);
    const timer = setTimeout(task, delayMs);
    return () => clearTimeout(timer);
  }

  pause(): Promise<void> {
    return nextTurn();
  }
}

const afterSeveral = (delayMs: Milliseconds, task: () => void): Cancel => {
  let timer: NodeJS.Timeout;
  const wait = (remainingMs: Milliseconds): void => {
    timer =
      remainingMs > TIMER_MS_MAX
        ? setTimeout(() => wait(remainingMs - TIMER_MS_MAX), TIMER_MS_MAX)
        : setTimeout(task, remainingMs);
  };
  wait(delayMs);
  return () => clearTimeout(timer);
};
