/**
 * A WORKER PROCESS: what the primary starts. The whole service on the primary's configuration, told everything over the
 * channel to the primary: when to begin, and when to stop.
 * Signals: a terminal and a service manager send theirs to the primary and to its workers, so here the first one and
 * the primary's word mean the same, and more of them mean nothing; insisting is the primary's. One that is sent to a
 * worker alone has it end in order, and be replaced. Without its primary, Node ends a worker at once.
 */
import { SystemClock } from '../system/system-clock.js';
import type { Begin, FromWorker, ToWorker } from '../workers/worker-messages.js';
import { WorkerMetrics } from '../workers/worker-metrics.js';
import { makeContainer } from './container.js';
import { endAtUnhandledRejection, endInOrder, EXIT_FAILURE } from './ending.js';
import { TOKENS } from './tokens.js';

const tell = (message: FromWorker, onSent: () => void = () => undefined): void => {
  process.send?.(message, undefined, undefined, onSent);
};

const run = async ({ config, auth, version }: Begin): Promise<void> => {
  const container = makeContainer(config, auth, version);
  const metrics = new WorkerMetrics(tell, new SystemClock());
  container.rebind(TOKENS.Metrics).toConstantValue(metrics);
  const logger = container.get(TOKENS.Logger);
  const lifecycle = container.get(TOKENS.Lifecycle);
  endAtUnhandledRejection(logger);

  let isListening = false;
  let isStopping = false;
  const stop = (): void => {
    if (isStopping) return;
    isStopping = true;
    if (isListening) endInOrder(() => lifecycle.stop(), logger, config.server);
    else process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'begin':
        return;
      case 'stop':
        stop();
        return;
      case 'scraped':
        metrics.onScraped(message.scrape, message.exposition);
        return;
      case 'read':
        void metrics.read().then((reading) => tell({ type: 'reading', scrape: message.scrape, reading }));
        return;
    }
  });
  const ports = await lifecycle.start();
  isListening = true;
  tell({ type: 'listening', ports });
};

process.once('message', (message: ToWorker) => {
  // All that comes before it has begun is to begin, or to leave it.
  if (message.type !== 'begin') process.exit(0);
  run(message).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    // The primary prints it, once for all workers that have failed for the same reason.
    tell({ type: 'failed', why }, () => process.exit(EXIT_FAILURE));
  });
});
tell({ type: 'loaded' });
