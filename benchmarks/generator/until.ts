/** Waits for a condition; a benchmark that waits for ever would be none. */
import { setTimeout as delay } from 'node:timers/promises';

const INTERVAL_MS = 5;

/** True once `condition` holds, false where it does not within `timeoutMs`. */
export const until = async (condition: () => boolean, timeoutMs: number): Promise<boolean> => {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await delay(INTERVAL_MS);
  }
  return true;
};

/** The same for a promise. */
export const within = async <A>(promise: Promise<A>, timeoutMs: number, what: string): Promise<A> => {
  const giveUp = new AbortController();
  const late = delay(timeoutMs, undefined, { signal: giveUp.signal }).then(
    () => {
      throw new Error(`${what} took longer than ${timeoutMs} ms`);
    },
    () => promise,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    giveUp.abort();
  }
};
