/**
 * What every client of a fault run knows: where proxies are, how far the run is, and where it writes down what nobody
 * expected. Clients choose a proxy by chance, as behind a load balancer that does not look.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { request, type Answer, type HttpOptions } from '../support/client.js';
import type { Random } from '../support/random.js';
import type { HistoryRecorder } from './history.js';
import type { Installation, Slot } from './installation.js';

/**
 * `wild`: clients leave, forget, reject and dawdle. `calm`: they stay and acknowledge everything that comes, so that
 * in the end nothing is left over. `over`: they go.
 */
export type Mood = 'wild' | 'calm' | 'over';

export class World {
  mood: Mood = 'wild';
  /** Producers go on until this; what was begun is finished. */
  isPublishing = true;
  /** When all that Valkey had was deleted, for clients that nobody tells. */
  flushedMs = -Infinity;
  /** Answers that no fault excuses: a wrong status, an error frame about what was right, a request that hangs. */
  readonly surprises: string[] = [];

  constructor(
    readonly installation: Installation,
    readonly history: HistoryRecorder,
    readonly token: string,
  ) {}

  /** A proxy that runs; undefined while none does. */
  anyProxy(random: Random): Slot | undefined {
    const { running } = this.installation;
    return running.length === 0 ? undefined : random.pick(running);
  }

  surprise(what: string): void {
    if (this.surprises.length < SURPRISES_MAX) this.surprises.push(what);
  }
}

/** A run that goes wrong in one way goes wrong often: a few are enough to see it. */
const SURPRISES_MAX = 20;

/** What an answer may take longer than anything that is configured; only a proxy that was frozen may. */
const PATIENCE_MS = 12_000;

/** Why there was no answer: nobody was there, or the connection ended with the request under way. */
export type NoAnswer = 'refused' | 'cut';

/** Asks a proxy, which may die meanwhile. */
export const ask = async (
  world: World,
  slot: Slot,
  method: string,
  path: string,
  options: HttpOptions,
): Promise<Answer | NoAnswer> => {
  const { proxy, name } = slot;
  if (proxy === undefined) return 'refused';
  const startedMs = performance.now();
  try {
    return await request(proxy, method, path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    const { name: kind, cause } = error as Error & { readonly cause?: { readonly code?: string } };
    if (kind === 'TimeoutError' && !slot.wasFrozenSince(startedMs))
      world.surprise(`${method} ${path} at ${name} was not answered within ${PATIENCE_MS} ms`);
    return cause?.code === 'ECONNREFUSED' ? 'refused' : 'cut';
  }
};

export const pause = (ms: number): Promise<void> => delay(ms);
