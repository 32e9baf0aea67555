import { setImmediate as nextTurn } from 'node:timers/promises';
import { pausing } from './manual-clock.js';

/** Lets everything happen that can happen while the clock stands still: memory adapters answer within microtasks. */
export const settle = async (): Promise<void> => {
  do await nextTurn();
  while (pausing > 0);
};
