/** What the benchmark asks of the load generator, and what it answers. Both travel between processes. */
import type { Percentiles } from './latencies.js';

export interface Job {
  readonly scenario: string;
  readonly seconds: number;
  /** Where the service listens, on loopback. */
  readonly port: number;
  /** May publish everywhere. */
  readonly apiKey: string;
  /** Signs a token for every subscriber. */
  readonly jwtSecret: string;
  readonly servicePid: number;
  /** Undefined with the memory driver. */
  readonly valkeyPid: number | undefined;
}

export interface CpuSeconds {
  readonly service: number;
  readonly valkey: number | undefined;
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

/** One measured window. */
export interface Measurement extends Faults {
  readonly count: number;
  readonly elapsedSeconds: number;
  readonly cpu: CpuSeconds;
  readonly latencyMs: Percentiles | undefined;
  /** The first failures, in words. */
  readonly failures: readonly string[];
}

export type Answer = { readonly measurement: Measurement } | { readonly error: string };
