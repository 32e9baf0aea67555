import { setTimeout as delay } from 'node:timers/promises';

/** Retries `assert` until it passes; where it still fails after `timeoutMs`, its last failure is the test's. */
export const eventually = async (assert: () => unknown, timeoutMs = 5000): Promise<void> => {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      await assert();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await delay(5);
  }
};
