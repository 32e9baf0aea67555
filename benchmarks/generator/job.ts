/** What the benchmark asks of the load generator, and what it answers. Both travel between processes. */
import type { ClientName } from './clients/client-name.js';
import type { Percentiles } from './latencies.js';
import type { Sizes } from '../sizes.js';

export interface Job {
  readonly scenario: string;
  readonly seconds: number;
  readonly sizes: Sizes;
  /** How to talk to the service. */
  readonly client: ClientName;
  /** Where the service listens, on loopback. */
  readonly port: number;
  /** May publish everywhere. */
  readonly apiKey: string;
  /** Signs a token for every subscriber. */
  readonly jwtSecret: string;
  readonly servicePids: readonly number[];
  /**
   * Of Valkey; none where the service keeps everything in its own memory. Without the children that rewrite its log:
   * they come when it has doubled and end whenever they have done it.
   */
  readonly storePids: readonly number[];
}

export interface CpuSeconds {
  readonly service: number;
  readonly store: number | undefined;
  readonly generator: number;
}

/** Each is zero, or something is wrong: with the service, the machine or the benchmark. */
export interface Faults {
  /** Published with a 2xx, and not delivered. */
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  /** Requests refused, connections closed, gaps and errors told. */
  readonly failed: number;
}

/** A number that only this scenario has. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** One measured window. */
export interface Measurement extends Faults {
  readonly count: number;
  readonly elapsedSeconds: number;
  readonly cpu: CpuSeconds;
  readonly latencyMs: Percentiles | undefined;
  readonly figures: readonly Figure[];
  /** The first failures, in words. */
  readonly failures: readonly string[];
}

export type Answer = { readonly measurement: Measurement } | { readonly error: string };
