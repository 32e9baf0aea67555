/** From the windows of one scenario to its line in the table. Faults are added up: a median would hide them. */
import type { Faults, Measurement } from '../generator/job.js';
import type { Scenario } from '../scenarios/scenario.js';

export interface Summary extends Faults {
  readonly name: string;
  readonly title: string;
  readonly unit: Scenario['unit'];
  /** Medians over the runs, each figure by itself. */
  readonly perSecond: number;
  readonly serviceMicroseconds: number;
  readonly valkeyMicroseconds: number | undefined;
  readonly generatorMicroseconds: number;
  /** Share of one core that the process was busy. */
  readonly serviceBusy: number;
  readonly valkeyBusy: number | undefined;
  readonly generatorBusy: number;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly runs: readonly Measurement[];
}

export const summarise = ({ name, title, unit }: Scenario, runs: readonly Measurement[]): Summary => {
  const all = (pick: (run: Measurement) => number | undefined) => medianOf(runs.map(pick));
  const total = (pick: (run: Measurement) => number) => runs.reduce((sum, run) => sum + pick(run), 0);
  const perMessage = (pick: (run: Measurement) => number | undefined) =>
    all((run) => ratio(pick(run), run.count / 1e6));
  const busy = (pick: (run: Measurement) => number | undefined) =>
    all((run) => ratio(pick(run), run.elapsedSeconds));
  return {
    name,
    title,
    unit,
    perSecond: all((run) => run.count / run.elapsedSeconds) ?? 0,
    serviceMicroseconds: perMessage(({ cpu }) => cpu.service) ?? 0,
    valkeyMicroseconds: perMessage(({ cpu }) => cpu.valkey),
    generatorMicroseconds: perMessage(({ cpu }) => cpu.generator) ?? 0,
    serviceBusy: busy(({ cpu }) => cpu.service) ?? 0,
    valkeyBusy: busy(({ cpu }) => cpu.valkey),
    generatorBusy: busy(({ cpu }) => cpu.generator) ?? 0,
    p50Ms: all(({ latencyMs }) => latencyMs?.p50),
    p95Ms: all(({ latencyMs }) => latencyMs?.p95),
    p99Ms: all(({ latencyMs }) => latencyMs?.p99),
    lost: total(({ lost }) => lost),
    duplicated: total(({ duplicated }) => duplicated),
    reordered: total(({ reordered }) => reordered),
    failed: total(({ failed }) => failed),
    runs,
  };
};

export const isFaultless = ({ lost, duplicated, reordered, failed }: Faults): boolean =>
  lost + duplicated + reordered + failed === 0;

const ratio = (part: number | undefined, whole: number): number | undefined =>
  part === undefined ? undefined : part / whole;

const medianOf = (values: readonly (number | undefined)[]): number | undefined => {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? sorted[Math.floor(middle)]
    : sorted.length === 0
      ? undefined
      : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
