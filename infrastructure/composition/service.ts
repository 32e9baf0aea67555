/**
 * The service as the process sees it: something that starts, and stops in order. With one worker, the default, it is
 * this process; with more it is processes below this one.
 */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../../application/ports/logger.js';
import type { AuthConfig, Config, ServerConfig } from '../config/config.js';
import { JsonLogger } from '../observability/json-logger.js';
import { warnOfFewDescriptors } from '../system/file-descriptors.js';
import { SystemClock } from '../system/system-clock.js';
import { Workers } from '../workers/workers.js';
import { makeContainer } from './container.js';
import type { Ports } from './lifecycle.js';
import { TOKENS } from './tokens.js';

export interface Service {
  readonly logger: Logger;
  /** Resolves when it listens. */
  start(): Promise<Ports>;
  /** Resolves when everybody has been answered and everything is recorded. May be called while it starts. */
  stop(): Promise<void>;
}

/** What a worker runs; compiled, it lies beside this file. */
const WORKER_ENTRY = fileURLToPath(new URL('./worker.js', import.meta.url));

/** How many processes serve. */
export const workersOf = ({ workers }: Pick<ServerConfig, 'workers'>): number =>
  workers === 'auto' ? availableParallelism() : workers;

/** `onGivenUp` is called when the service cannot go on, and told why. */
export const makeService = (
  config: Config,
  auth: AuthConfig,
  version: string,
  onGivenUp: (why: string) => void,
): Service => {
  const count = workersOf(config.server);
  const service =
    count === 1 ? inThisProcess(config, auth, version) : inWorkers(count, config, auth, version, onGivenUp);
  warnOfFewDescriptors(config.limits.connectionsPerInstanceMax, service.logger);
  return service;
};

const inThisProcess = (config: Config, auth: AuthConfig, version: string): Service => {
  const container = makeContainer(config, auth, version);
  const lifecycle = container.get(TOKENS.Lifecycle);
  let isListening = false;
  return {
    logger: container.get(TOKENS.Logger),
    start: async () => {
      const ports = await lifecycle.start();
      isListening = true;
      return ports;
    },
    // Where it does not listen yet, nobody has been promised anything.
    stop: async () => (isListening ? lifecycle.stop() : undefined),
  };
};

const inWorkers = (
  count: number,
  config: Config,
  auth: AuthConfig,
  version: string,
  onGivenUp: (why: string) => void,
): Service => {
  const logger = new JsonLogger(config.log.level);
  const begin = { config, auth, version };
  const workers = new Workers({ count, entry: WORKER_ENTRY, begin }, logger, new SystemClock(), onGivenUp);
  return { logger, start: () => workers.start(), stop: () => workers.stop() };
};
