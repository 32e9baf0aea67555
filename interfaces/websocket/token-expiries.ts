/**
 * TokenExpiries: sends clients away when their tokens are over. One timer for all, set to whichever is over first: with
 * one for each, they would be a tenth of what an idle socket takes of the memory.
 */
import type { Cancel, Clock } from '../../application/ports/clock.js';
import type { Instant, Milliseconds } from '../../domain/time.js';

/** Who may stay until a token is over. */
export interface Expiring {
  /** Undefined: for good, or gone already. */
  readonly expiresAt: Instant | undefined;
  leave(reason: 'token_expired'): unknown;
}

/** Everybody is looked at this often at most: so much later may a client be sent away. */
const LOOK_MS: Milliseconds = 100;

export class TokenExpiries {
  private cancel: Cancel | undefined;
  /** When the timer fires. */
  private wakeAt: Instant = Infinity;

  constructor(
    private readonly clock: Clock,
    /** Everybody who is here. */
    private readonly everybody: () => Iterable<Expiring>,
  ) {}

  /** Somebody's token is over at this instant. */
  watch(expiresAt: Instant): void {
    const wakeAt = Math.ceil(expiresAt / LOOK_MS) * LOOK_MS;
    if (wakeAt >= this.wakeAt) return;
    this.stop();
    this.wakeAt = wakeAt;
    this.cancel = this.clock.after(Math.max(0, wakeAt - this.clock.now()), () => this.look());
  }

  stop(): void {
    this.cancel?.();
    this.wakeAt = Infinity;
  }

  /** Looks at everybody, which costs nothing beside what it takes to part with one. */
  private look(): void {
    const now = this.clock.now();
    let next = Infinity;
    this.wakeAt = Infinity;
    for (const client of this.everybody()) {
      const { expiresAt } = client;
      if (expiresAt === undefined) continue;
      if (expiresAt <= now) client.leave('token_expired');
      else if (expiresAt < next) next = expiresAt;
    }
    if (next < Infinity) this.watch(next);
  }
}
