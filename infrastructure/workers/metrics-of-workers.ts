/**
 * MetricsOfWorkers: one exposition of what all workers have counted, put together in the primary.
 * Promises: an answer within a second, whatever a worker does; counters that never go down, because Prometheus would
 * take that for a restart and count everything anew. So a worker that does not answer counts with its last figures, and
 * of one that has ended the counters stay. Does not promise: what a worker has counted between its last reading and its
 * end.
 */
import { AggregatorRegistry, Counter, Gauge, Registry } from 'prom-client';
import type { Clock } from '../../application/ports/clock.js';
import type { Milliseconds } from '../../domain/time.js';
import { readingOf, type Reading } from '../observability/reading.js';
import type { Exposition } from './worker-messages.js';

type WorkerId = number;

/** Asks every worker for a reading and answers whom it has asked. Readings come later, never before it returns. */
export type AskWorkers = (scrape: number) => Iterable<WorkerId>;

/** One request for the metrics, while readings are waited for. */
interface Scrape {
  readonly awaited: Set<WorkerId>;
  answered: number;
  readonly finish: () => void;
}

/** Prometheus gives up after ten seconds. A worker that is this late has worse problems than its metrics. */
const ANSWER_MS_MAX: Milliseconds = 1_000;

export class MetricsOfWorkers {
  private readonly latest = new Map<WorkerId, Reading>();
  private readonly scrapes = new Map<number, Scrape>();
  /** The counters of all workers that have ended, added up. */
  private departed: Promise<Reading> = Promise.resolve([]);
  private departures = 0;
  private numbers = 0;

  constructor(
    private readonly ask: AskWorkers,
    private readonly clock: Clock,
  ) {}

  async render(): Promise<Exposition> {
    const answering = await this.readAll();
    // Both at the same moment: nobody may end in between and be in neither.
    const [latest, departed] = [[...this.latest.values()], this.departed];
    const own = await this.ownReading(answering);
    const registry = AggregatorRegistry.aggregate([...latest, await departed, own].map((each) => [...each]));
    return { contentType: registry.contentType, body: await registry.metrics() };
  }

  /** A reading of a worker has come, for a scrape that may be over. */
  onReading(worker: WorkerId, scrape: number, reading: Reading): void {
    this.latest.set(worker, reading);
    const waiting = this.scrapes.get(scrape);
    if (waiting === undefined) return;
    waiting.answered += 1;
    settle(waiting, worker);
  }

  /** A worker has ended: its connections are gone, and what it has counted has happened. */
  onEnd(worker: WorkerId): void {
    const counted = (this.latest.get(worker) ?? []).filter((metric) => typeOf(metric) !== 'gauge');
    this.latest.delete(worker);
    this.departures += 1;
    this.departed = this.departed.then((departed) => sumOf([departed, counted]));
    for (const scrape of this.scrapes.values()) settle(scrape, worker);
  }

  /** Resolves with how many have answered, once all have, or it is too late. */
  private async readAll(): Promise<number> {
    this.numbers += 1;
    const number = this.numbers;
    let finish: () => void = () => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const scrape: Scrape = { awaited: new Set(this.ask(number)), answered: 0, finish };
    this.scrapes.set(number, scrape);
    const cancel = this.clock.after(ANSWER_MS_MAX, finish);
    if (scrape.awaited.size > 0) await finished;
    cancel();
    this.scrapes.delete(number);
    return scrape.answered;
  }

  /** What only the primary knows. */
  private ownReading(answering: number): Promise<Reading> {
    const registry = new Registry();
    new Gauge({
      name: 'proxy_workers',
      help: 'Worker processes that have answered this scrape; the figures of the others are older',
      registers: [registry],
    }).set(answering);
    new Counter({
      name: 'proxy_workers_ended_total',
      help: 'Worker processes that have ended and were replaced',
      registers: [registry],
    }).inc(this.departures);
    return readingOf(registry);
  }
}

/** Nobody waits for this worker any more. */
const settle = ({ awaited, finish }: Scrape, worker: WorkerId): void => {
  awaited.delete(worker);
  if (awaited.size === 0) finish();
};

const sumOf = (readings: readonly Reading[]): Promise<Reading> =>
  readingOf(AggregatorRegistry.aggregate(readings.map((each) => [...each])));

/** A word, whatever prom-client's types say. */
const typeOf = (metric: Reading[number]): string => String(metric.type);
