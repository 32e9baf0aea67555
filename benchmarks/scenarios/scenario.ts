/** What a benchmark measures. Runs inside the load generator; the service and Valkey are there already. */
import { randomBytes } from 'node:crypto';
import type { Job, Measurement } from '../generator/job.js';

export interface Scenario {
  /** For `--scenario`. */
  readonly name: string;
  /** For the table. */
  readonly title: string;
  /** What is counted, and what the costs are per. */
  readonly unit: 'message' | 'delivery';
  readonly run: (job: Job) => Promise<Measurement>;
}

/** Long enough for V8 to have compiled what is about to be measured. */
export const WARM_UP_MS = 1_500;
/** How long deliveries may be late before they are counted as lost. */
export const DRAIN_TIMEOUT_MS = 10_000;
/** For all connections together. */
export const CONNECT_TIMEOUT_MS = 30_000;

/** Every run has a topic of its own: no backlog, and nothing to mistake for its own messages. */
export const freshTopic = (name: string): string => `bench.${name}.${randomBytes(4).toString('hex')}`;

/** The first few say enough, and so does the beginning of each: a refused bulk is answered item by item. */
const FAILURES_SHOWN = 5;
const FAILURE_CHARACTERS = 300;

export const shown = (failures: readonly string[]): readonly string[] =>
  failures.slice(0, FAILURES_SHOWN).map((failure) => failure.slice(0, FAILURE_CHARACTERS));
