import type { Clock } from '../../../application/ports/clock.js';
import type { Instant } from '../../../domain/time.js';

/** A clock that stands still until it is moved. Authenticators ask for the time and never wait. */
export class FixedClock implements Clock {
  constructor(public instant: Instant) {}

  now(): Instant {
    return this.instant;
  }

  after(): never {
    throw new Error('an authenticator never waits');
  }

  pause(): never {
    throw new Error('an authenticator never waits');
  }
}

export const NOW: Instant = Date.parse('2025-06-01T12:00:00Z');
