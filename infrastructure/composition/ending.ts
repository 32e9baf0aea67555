/** How a process of the service ends: in order and within a time, or at once where something was overlooked. */
import type { Logger } from '../../application/ports/logger.js';
import type { ServerConfig } from '../config/config.js';
import { SystemClock } from '../system/system-clock.js';

export const EXIT_FAILURE = 1;

/** Stops and ends this process with `exitCode`, or with 1 where stopping fails or takes too long. */
export const endInOrder = (
  stop: () => Promise<void>,
  logger: Logger,
  { drainDelayMs, drainTimeoutMs }: ServerConfig,
  exitCode = 0,
): void => {
  const afterMs = drainDelayMs + drainTimeoutMs;
  // A clock, because the two together may be more than a timer of Node can hold.
  new SystemClock().after(afterMs, () => {
    logger.error('drain_timeout', { afterMs });
    process.exit(EXIT_FAILURE);
  });
  stop().then(
    () => process.exit(exitCode),
    (error: unknown) => {
      logger.error('stop_failed', { error });
      process.exit(EXIT_FAILURE);
    },
  );
};

/** A rejection that nobody expected has left something undone, and nobody knows what. */
export const endAtUnhandledRejection = (logger: Logger): void => {
  process.on('unhandledRejection', (error) => {
    logger.error('unhandled_rejection', { error });
    process.exit(EXIT_FAILURE);
  });
};
