/** Time that stands still until a test moves it. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import type { Instant, Milliseconds } from '../../domain/time.js';

interface Task {
  readonly at: Instant;
  readonly run: () => void;
}

/** 2025-01-01T00:00:00Z */
export const TEST_START: Instant = 1_735_689_600_000;

/** How many pauses of all clocks are under way; see settle.ts. */
export let pausing = 0;

export class ManualClock implements Clock {
  private readonly tasks = new Set<Task>();

  constructor(private time: Instant = TEST_START) {}

  now(): Instant {
    return this.time;
  }

  after(delayMs: Milliseconds, run: () => void): Cancel {
    const task = { at: this.time + delayMs, run };
    this.tasks.add(task);
    return () => this.tasks.delete(task);
  }

  /** Takes no time of this clock's. */
  async pause(): Promise<void> {
    pausing += 1;
    await nextTurn();
    pausing -= 1;
  }

  /** Moves on by `ms` and runs what has become due, in the order of time, each at its own instant. */
  advance(ms: Milliseconds): void {
    const until = this.time + ms;
    for (let next = this.earliest(); next !== undefined && next.at <= until; next = this.earliest()) {
      this.tasks.delete(next);
      this.time = Math.max(this.time, next.at);
      next.run();
    }
    this.time = until;
  }

  /** How many tasks wait: none is left behind by what was closed. */
  get waiting(): number {
    return this.tasks.size;
  }

  private earliest(): Task | undefined {
    let earliest: Task | undefined;
    // A set keeps the order of insertion, so of two tasks at one instant the older one runs first.
    for (const task of this.tasks) if (earliest === undefined || task.at < earliest.at) earliest = task;
    return earliest;
  }
}
