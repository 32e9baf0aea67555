/** What a benchmark measures. Runs inside the load generator; the service and Valkey are there already. */
import type { Job, Measurement } from '../generator/job.js';
import type { Sizes } from '../sizes.js';

export interface Scenario {
  /** For `--scenario`. */
  readonly name: string;
  /** For the table. */
  readonly title: (sizes: Sizes) => string;
  /** What is counted, and what the costs are per. */
  readonly unit: Unit;
  /** Measured once: a given amount of work instead of a window of time, or too much to set up three times. */
  readonly isOnce: boolean;
  /** Connections, each a file descriptor of the generator and one of the service. */
  readonly connections: (sizes: Sizes) => number;
  readonly run: (job: Job) => Promise<Measurement>;
}

export type Unit = 'message' | 'delivery' | 'connection';

/** Long enough for V8 to have compiled what is about to be measured. */
export const WARM_UP_MS = 1_500;
/** How long deliveries may be late before they are counted as lost. */
export const DRAIN_TIMEOUT_MS = 10_000;
/** For one group of connections. */
export const CONNECT_TIMEOUT_MS = 30_000;

/** The first few say enough, and so does the beginning of each: a refused bulk is answered item by item. */
const FAILURES_SHOWN = 5;
const FAILURE_CHARACTERS = 300;

export const shown = (failures: readonly string[]): readonly string[] =>
  failures.slice(0, FAILURES_SHOWN).map((failure) => failure.slice(0, FAILURE_CHARACTERS));
