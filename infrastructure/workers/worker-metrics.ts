/**
 * WorkerMetrics: the metrics of one worker, which answers a scrape with those of all. Whichever worker the scrape has
 * reached, it asks the primary, because the workers do not know each other.
 */
import type { Clock } from '../../application/ports/clock.js';
import type { Milliseconds } from '../../domain/time.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import type { Exposition, FromWorker } from './worker-messages.js';

/** The primary waits a second for the slowest worker. After this the scrape fails, as that of a hung process does. */
const ANSWER_MS_MAX: Milliseconds = 3_000;

export class WorkerMetrics extends PrometheusMetrics {
  private readonly scrapes = new Map<number, (exposition: Exposition) => void>();
  private numbers = 0;

  constructor(
    private readonly tell: (message: FromWorker) => void,
    private readonly clock: Clock,
  ) {
    super();
  }

  override render(): Promise<Exposition> {
    this.numbers += 1;
    const scrape = this.numbers;
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(ANSWER_MS_MAX, () => {
        this.scrapes.delete(scrape);
        reject(new Error('the primary process does not answer'));
      });
      this.scrapes.set(scrape, (exposition) => {
        cancel();
        resolve(exposition);
      });
      this.tell({ type: 'scrape', scrape });
    });
  }

  /** The primary's answer; too late where nobody waits for it any more. */
  onScraped(scrape: number, exposition: Exposition): void {
    this.scrapes.get(scrape)?.(exposition);
    this.scrapes.delete(scrape);
  }
}
