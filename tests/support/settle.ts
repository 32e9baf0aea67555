import { setImmediate as turn } from 'node:timers/promises';

/** Lets everything happen that can happen while the clock stands still: memory adapters answer within microtasks. */
export const settle = async (): Promise<void> => {
  await turn();
};
