/** How long a message that was not acknowledged waits for its next delivery. */
import type { Milliseconds } from '../time.js';

/** A fifth more or less, so that what failed together does not come back together. */
const JITTER_SHARE = 0.2;

/**
 * The delay after delivery number `attempt` (from 1): the list's entry for it, the last one for all that come later,
 * none where the list is empty. `jitter` is from 0 up to 1.
 */
export const redeliveryDelayMs = (
  backoffMs: readonly Milliseconds[],
  attempt: number,
  jitter: number,
): Milliseconds => {
  const delayMs = backoffMs[Math.min(attempt, backoffMs.length) - 1] ?? 0;
  return Math.round(delayMs * (1 + JITTER_SHARE * (2 * jitter - 1)));
};
