/**
 * `--sweep`: the same scenario over many sizes, as charts: latency against the rate, and what a message costs against
 * the number of subscribers and of topics.
 */
import type { Output } from './compare.js';
import { checkFileDescriptors } from './file-descriptors.js';
import { measure, type MeasureSettings } from './measure.js';
import type { ServiceUnderTest } from './peers/service-under-test.js';
import { toSvg, type Point, type Series } from './report/chart.js';
import type { Context } from './report/report.js';
import { isFaultless, summarise, type Summary } from './report/summary.js';
import { writeResults } from './report/write-results.js';
import { SCENARIOS } from './scenarios/registry.js';
import type { Scenario } from './scenarios/scenario.js';
import type { Sizes } from './sizes.js';

interface Sweep {
  readonly file: string;
  readonly title: string;
  readonly scenario: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly steps: readonly Partial<Sizes>[];
  readonly x: (sizes: Sizes) => number;
  readonly series: readonly (readonly [name: string, y: (summary: Summary) => number | undefined])[];
}

type Measured = readonly [sizes: Sizes, summary: Summary];

const COSTS: Sweep['series'] = [
  ['proxy', ({ serviceMicroseconds }) => serviceMicroseconds],
  ['Valkey', ({ storeMicroseconds }) => storeMicroseconds],
];

const SWEEPS: readonly Sweep[] = [
  {
    file: 'latency-against-rate.svg',
    title: 'Latency against rate, fan-out to 1,000 sockets',
    scenario: 'fan-out-light',
    xLabel: 'deliveries per second',
    yLabel: 'ms from publish to arrival',
    steps: [10, 25, 50, 100, 200, 400, 600].map((lightPerSecond) => ({ lightPerSecond })),
    x: ({ lightPerSecond, subscribers }) => lightPerSecond * subscribers,
    series: [
      ['p50', ({ p50Ms }) => p50Ms],
      ['p95', ({ p95Ms }) => p95Ms],
      ['p99', ({ p99Ms }) => p99Ms],
    ],
  },
  {
    file: 'cost-against-subscribers.svg',
    title: 'Cost of a delivery against subscribers, one topic, saturated',
    scenario: 'fan-out',
    xLabel: 'subscribers of the topic',
    yLabel: 'CPU µs per delivery',
    steps: [1, 10, 100, 1_000, 5_000].map((subscribers) => ({ subscribers })),
    x: ({ subscribers }) => subscribers,
    series: COSTS,
  },
  {
    file: 'cost-against-topics.svg',
    title: 'Cost of a message against topics, one subscriber each, saturated',
    scenario: 'topics',
    xLabel: 'topics',
    yLabel: 'CPU µs per message',
    steps: [100, 300, 1_000, 3_000, 10_000].map((topics) => ({ topics })),
    x: ({ topics }) => topics,
    series: COSTS,
  },
];

export const sweep = async (
  ours: ServiceUnderTest,
  settings: MeasureSettings,
  { context, out }: Output,
): Promise<boolean> => {
  for (const one of SWEEPS) {
    for (const step of one.steps) checkFileDescriptors([scenarioOf(one)], { ...settings.sizes, ...step });
  }
  const files: Record<string, string> = {};
  const points: Record<string, readonly Measured[]> = {};
  for (const one of SWEEPS) {
    const measured: Measured[] = [];
    for (const step of one.steps) {
      const sizes = { ...settings.sizes, ...step };
      const scenario = scenarioOf(one);
      const runs = await measure(scenario, ours, { ...settings, sizes });
      measured.push([sizes, summarise(scenario, ours, sizes, runs)]);
    }
    points[one.file] = measured;
    files[one.file] = drawn(one, measured, context);
  }
  await writeResults(out, { ...files, 'sweep.json': JSON.stringify({ ...context, points }) });
  console.log(out === '' ? 'Nothing was written.' : `Written to ${out}: ${Object.keys(files).join(', ')}`);
  return Object.values(points).every((measured) => measured.every(([, summary]) => isFaultless(summary)));
};

const scenarioOf = ({ scenario: name }: Sweep): Scenario => {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario is called ${name}`);
  return scenario;
};

const drawn = (
  { title, xLabel, yLabel, x, series }: Sweep,
  measured: readonly Measured[],
  { date, machine: { cpu, cores, node } }: Context,
): string =>
  toSvg({
    title,
    subtitle: `${date.slice(0, 10)}, ${cpu}, ${cores} cores, Node ${node}; proxy on one core`,
    xLabel,
    yLabel,
    series: series.map(([name, y]): Series => ({
      name,
      points: measured.map(([sizes, summary]): Point => ({ x: x(sizes), y: y(summary) ?? 0 })),
    })),
  });
