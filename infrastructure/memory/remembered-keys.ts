/**
 * RememberedKeys: what was stored under which idempotency key, until its window is over.
 * Promises: no key is forgotten early; at most `max` are held, and whoever would need more asks `hasRoomFor` first; what
 *   is over goes, a few for each new one and the rest by `sweep`, so that there are never many more than are in use.
 */
import type { Cursor } from '../../domain/message/offset.js';
import type { Instant } from '../../domain/time.js';

export interface Remembered {
  readonly fingerprint: string;
  readonly at: Cursor;
  readonly expiresAt: Instant;
}

/** Looked at for each new key: more than one, so that the looking comes round. */
const VISITS_PER_KEY = 2;

export class RememberedKeys {
  private readonly keys = new Map<string, Remembered>();
  /** Where the next sweep goes on. A map may change while it is walked through. */
  private sweeping = this.keys.entries();

  constructor(private readonly max: number) {}

  get size(): number {
    return this.keys.size;
  }

  hasRoomFor(count: number): boolean {
    return this.keys.size + count <= this.max;
  }

  find(key: string, now: Instant): Remembered | undefined {
    const found = this.keys.get(key);
    return found !== undefined && found.expiresAt > now ? found : undefined;
  }

  remember(key: string, remembered: Remembered, now: Instant): void {
    this.keys.set(key, remembered);
    this.sweep(VISITS_PER_KEY, now);
  }

  /** Looks at `visits` keys and forgets those whose time is over. */
  sweep(visits: number, now: Instant): void {
    for (let visited = 0; visited < visits; visited++) {
      const next = this.sweeping.next();
      if (next.done === true) {
        this.sweeping = this.keys.entries();
        return;
      }
      const [key, { expiresAt }] = next.value;
      if (expiresAt <= now) this.keys.delete(key);
    }
  }
}
