/**
 * Workers: processes that share the ports, each a whole instance on the same Valkey, and this one, the primary, which
 * serves nobody. It hands out the connections, replaces a worker that has ended, adds up their metrics, and ends with
 * them. A worker lives no longer than the primary, whatever ends it. ADR 0021.
 */
import cluster, { type Worker } from 'node:cluster';
import { option as O } from 'fp-ts';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import type { Logger } from '../../application/ports/logger.js';
import { assertNever } from '../../domain/assert-never.js';
import type { Milliseconds } from '../../domain/time.js';
import { HandedOver } from './handed-over.js';
import { MetricsOfWorkers } from './metrics-of-workers.js';
import { FAILURES_MAX, replacementOf } from './replacement.js';
import type { Begin, FromWorker, Ports, ToWorker } from './worker-messages.js';

/** The place of one worker, taken by one process after the other. */
interface Place {
  /** From 1 on; for people. */
  readonly number: number;
  worker: Worker | undefined;
  /** When the present one began to listen, by performance.now(). */
  listeningSinceMs: Milliseconds | undefined;
  /** Why the present one cannot start, in its own words. */
  why: string | undefined;
  /** Ends in a row as soon as it had begun. */
  failures: number;
  /** Set while a replacement is waited for. */
  cancelReplacement: Cancel;
}

interface Waiting<A> {
  readonly resolve: (value: A) => void;
  readonly reject: (error: Error) => void;
}

export interface WorkersSettings {
  readonly count: number;
  /** The file that a worker runs. */
  readonly entry: string;
  readonly begin: Omit<Begin, 'type'>;
}

const STOP: ToWorker = { type: 'stop' };
const nothing: Cancel = () => undefined;

export class Workers {
  private readonly places: readonly Place[];
  private readonly metrics: MetricsOfWorkers;
  private readonly handedOver = new HandedOver();
  private starting: Waiting<Ports> | undefined;
  private stopping: Waiting<void> | undefined;
  /** How the first worker ended that did not end in order while all were asked to. */
  private failure: string | undefined;

  /** `onGivenUp` is called when a worker cannot be kept alive, and told why; the others go on until they are stopped. */
  constructor(
    private readonly settings: WorkersSettings,
    private readonly logger: Logger,
    private readonly clock: Clock,
    private readonly onGivenUp: (why: string) => void,
  ) {
    this.places = Array.from({ length: settings.count }, (_, i) => ({
      number: i + 1,
      worker: undefined,
      listeningSinceMs: undefined,
      why: undefined,
      failures: 0,
      cancelReplacement: nothing,
    }));
    this.metrics = new MetricsOfWorkers((scrape) => this.askForReadings(scrape), clock);
  }

  /** Resolves when all of them listen. Rejects where one says that it cannot. */
  async start(): Promise<Ports> {
    // Connections are handed out in turn, which is Node's default (NODE_CLUSTER_SCHED_POLICY). Advanced: see ToWorker.
    cluster.setupPrimary({ exec: this.settings.entry, args: [], serialization: 'advanced' });
    process.once('exit', () => this.kill());
    const ports = await new Promise<Ports>((resolve, reject) => {
      this.starting = { resolve, reject };
      for (const place of this.places) this.fork(place);
    });
    this.logger.info('workers_listening', { ...ports, workers: this.places.length });
    return ports;
  }

  /** Resolves when every worker has said its goodbyes and ended in order. */
  stop(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.stopping = { resolve, reject };
      for (const place of this.places) {
        place.cancelReplacement();
        if (place.worker !== undefined) tell(place.worker, STOP);
      }
      this.finishStopping();
    });
  }

  /** What is left when the primary ends must not go on without it: nobody could stop it any more. */
  private kill(): void {
    for (const { worker } of this.places) worker?.process.kill('SIGKILL');
  }

  private fork(place: Place): void {
    const worker = cluster.fork();
    this.handedOver.follow(worker);
    Object.assign(place, { worker, listeningSinceMs: undefined, why: undefined, cancelReplacement: nothing });
    worker.on('message', (message: FromWorker) => {
      if (place.worker === worker) this.onMessage(place, worker, message);
    });
    worker.once('exit', (code: number, signal: string | null) => this.onEnd(place, worker, code, signal));
    worker.on('error', (error) => {
      // A process that could not be made has no exit. Other errors are followed by one.
      place.why ??= error.message;
      if (worker.process.pid === undefined) this.onEnd(place, worker, 1, null);
    });
  }

  private onMessage(place: Place, worker: Worker, message: FromWorker): void {
    switch (message.type) {
      case 'loaded':
        tell(worker, this.stopping === undefined ? { type: 'begin', ...this.settings.begin } : STOP);
        return;
      case 'listening':
        place.listeningSinceMs = performance.now();
        if (this.places.every(({ listeningSinceMs }) => listeningSinceMs !== undefined)) {
          this.starting?.resolve(message.ports);
          this.starting = undefined;
        }
        return;
      case 'failed':
        place.why = message.why;
        this.starting?.reject(new Error(message.why));
        return;
      case 'reading':
        this.metrics.onReading(worker.id, message.scrape, message.reading);
        return;
      case 'scrape':
        this.answer(worker, message.scrape);
        return;
      default:
        return assertNever(message);
    }
  }

  private onEnd(place: Place, worker: Worker, code: number, signal: string | null): void {
    if (place.worker !== worker) return;
    const { number, listeningSinceMs, why } = place;
    const how = { worker: number, endedPid: worker.process.pid, code, signal, why };
    place.worker = undefined;
    this.metrics.onEnd(worker.id);
    if (this.stopping !== undefined) {
      // One that had not begun may have been hit by a signal to the whole group of processes.
      if (code !== 0 && listeningSinceMs !== undefined)
        this.failure ??= `worker ${number} ended with ${signal ?? code}`;
      this.finishStopping();
      return;
    }
    const servedMs = listeningSinceMs === undefined ? 0 : performance.now() - listeningSinceMs;
    const replacement = replacementOf({ isInOrder: code === 0, servedMs }, place.failures);
    if (O.isNone(replacement)) {
      this.logger.error('worker_ended', how);
      this.giveUp(
        `worker ${number} has ended ${FAILURES_MAX} times in a row as soon as it had begun, with ${why ?? signal ?? `exit code ${code}`}`,
      );
      return;
    }
    const { delayMs, failures } = replacement.value;
    this.logger[code === 0 ? 'info' : 'error']('worker_ended', { ...how, replacedInMs: delayMs });
    place.failures = failures;
    place.cancelReplacement = this.clock.after(delayMs, () => this.fork(place));
  }

  private giveUp(why: string): void {
    if (this.starting === undefined) this.onGivenUp(why);
    else this.starting.reject(new Error(why));
  }

  private finishStopping(): void {
    if (this.places.some(({ worker }) => worker !== undefined)) return;
    if (this.failure === undefined) this.stopping?.resolve();
    else this.stopping?.reject(new Error(this.failure));
  }

  private askForReadings(scrape: number): readonly number[] {
    const listening = this.places.filter(({ listeningSinceMs }) => listeningSinceMs !== undefined);
    return listening.flatMap(({ worker }) => {
      if (worker === undefined) return [];
      tell(worker, { type: 'read', scrape });
      return [worker.id];
    });
  }

  private answer(worker: Worker, scrape: number): void {
    this.metrics.render().then(
      (exposition) => tell(worker, { type: 'scraped', scrape, exposition }),
      // Whoever asked waits in vain and says so.
      (error: unknown) => this.logger.error('scrape_failed', { error }),
    );
  }
}

/** To a worker that is ending it is not said: it would not be heard. */
const tell = (worker: Worker, message: ToWorker): void => {
  if (worker.isConnected()) worker.send(message, () => undefined);
};
