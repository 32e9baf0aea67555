/** From the windows of one scenario to its line in the table. Faults are added up: a median would hide them. */
import type { Faults, Figure, Measurement } from '../generator/job.js';
import type { ServiceUnderTest } from '../peers/service-under-test.js';
import type { Scenario, Unit } from '../scenarios/scenario.js';
import type { Sizes } from '../sizes.js';

export interface Summary extends Faults {
  readonly name: string;
  readonly title: string;
  readonly service: string;
  readonly unit: Unit;
  /** Medians over the runs, each figure by itself. */
  readonly perSecond: number;
  readonly serviceMicroseconds: number;
  readonly storeMicroseconds: number | undefined;
  readonly generatorMicroseconds: number;
  /** Share of one core that the process was busy. */
  readonly serviceBusy: number;
  readonly storeBusy: number | undefined;
  readonly generatorBusy: number;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly figures: readonly Figure[];
  readonly runs: readonly Measurement[];
}

export const summarise = (
  { name, title, unit }: Scenario,
  service: ServiceUnderTest,
  sizes: Sizes,
  runs: readonly Measurement[],
): Summary => {
  const all = (pick: (run: Measurement) => number | undefined) => medianOf(runs.map(pick));
  const total = (pick: (run: Measurement) => number) => runs.reduce((sum, run) => sum + pick(run), 0);
  const perMessage = (pick: (run: Measurement) => number | undefined) =>
    all((run) => ratio(pick(run), run.count / 1e6));
  const busy = (pick: (run: Measurement) => number | undefined) =>
    all((run) => ratio(pick(run), run.elapsedSeconds));
  return {
    name,
    title: title(sizes),
    service: service.title,
    unit,
    perSecond: all((run) => run.count / run.elapsedSeconds) ?? 0,
    serviceMicroseconds: perMessage(({ cpu }) => cpu.service) ?? 0,
    storeMicroseconds: perMessage(({ cpu }) => cpu.store),
    generatorMicroseconds: perMessage(({ cpu }) => cpu.generator) ?? 0,
    serviceBusy: busy(({ cpu }) => cpu.service) ?? 0,
    storeBusy: busy(({ cpu }) => cpu.store),
    generatorBusy: busy(({ cpu }) => cpu.generator) ?? 0,
    p50Ms: all(({ latencyMs }) => latencyMs?.p50),
    p95Ms: all(({ latencyMs }) => latencyMs?.p95),
    p99Ms: all(({ latencyMs }) => latencyMs?.p99),
    lost: total(({ lost }) => lost),
    duplicated: total(({ duplicated }) => duplicated),
    reordered: total(({ reordered }) => reordered),
    failed: total(({ failed }) => failed),
    figures: (runs[0]?.figures ?? []).map((figure, i) => ({
      ...figure,
      value: all((run) => run.figures[i]?.value) ?? figure.value,
    })),
    runs,
  };
};

export const isFaultless = ({ lost, duplicated, reordered, failed }: Faults): boolean =>
  lost + duplicated + reordered + failed === 0;

/** A process is at its end somewhat below 100 %: the window has edges. */
const FULL = 0.93;

/** What kept the rate from being higher. The generator is, where it is full itself or shares a core that is. */
export const limitOf = (
  { serviceBusy, storeBusy = 0, generatorBusy }: Summary,
  isCoreShared: boolean,
): 'proxy' | 'Valkey' | 'generator' | 'waiting' => {
  if (serviceBusy >= FULL) return 'proxy';
  const isFull = (busy: number): boolean => (isCoreShared ? storeBusy + generatorBusy : busy) >= FULL;
  if (storeBusy > generatorBusy) return isFull(storeBusy) ? 'Valkey' : 'waiting';
  return isFull(generatorBusy) ? 'generator' : 'waiting';
};

/** Not a number where nothing was counted, which a table cannot show. */
const ratio = (part: number | undefined, whole: number): number | undefined =>
  part === undefined || whole === 0 ? undefined : part / whole;

const medianOf = (values: readonly (number | undefined)[]): number | undefined => {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? sorted[Math.floor(middle)]
    : sorted.length === 0
      ? undefined
      : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
