/**
 * `--sweep`: the same scenario over many sizes, as charts and as tables: latency against the rate; what a message costs
 * against the number of subscribers, the number of topics and the size of the payload; and how long a subscriber needs
 * to catch up against how much there is to catch up on.
 */
import type { Output } from './compare.js';
import { checkFileDescriptors } from './file-descriptors.js';
import { measure, type MeasureSettings } from './measure.js';
import type { ServiceUnderTest } from './peers/service-under-test.js';
import { toSvg, type Point, type Series } from './report/chart.js';
import { describeContext, type Context } from './report/report.js';
import { isFaultless, summarise, type Summary } from './report/summary.js';
import { digits, table, whole } from './report/table.js';
import { writeResults } from './report/write-results.js';
import type { Scenario } from './scenarios/scenario.js';
import type { Sizes } from './sizes.js';

interface Sweep {
  /** Of the chart, without its extension. */
  readonly name: string;
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

const PAYLOADS_BYTES = [50, 200, 1_000, 4_000, 16_000];

const SWEEPS: readonly Sweep[] = [
  {
    name: 'latency-against-rate',
    title: 'Latency against rate, fan-out to 1,000 sockets',
    scenario: 'fan-out-light',
    xLabel: 'deliveries per second',
    yLabel: 'ms from publish to arrival',
    steps: [10, 25, 50, 100, 200, 400, 600].map((lightPerSecond) => ({ subscribers: 1_000, lightPerSecond })),
    x: ({ lightPerSecond, subscribers }) => lightPerSecond * subscribers,
    series: [
      ['p50', ({ p50Ms }) => p50Ms],
      ['p95', ({ p95Ms }) => p95Ms],
      ['p99', ({ p99Ms }) => p99Ms],
    ],
  },
  {
    name: 'cost-against-subscribers',
    title: 'Cost of a delivery against subscribers, one topic, saturated',
    scenario: 'fan-out',
    xLabel: 'subscribers of the topic',
    yLabel: 'CPU µs per delivery',
    steps: [1, 10, 100, 1_000, 5_000].map((subscribers) => ({ subscribers })),
    x: ({ subscribers }) => subscribers,
    series: COSTS,
  },
  {
    name: 'cost-against-topics',
    title: 'Cost of a message against topics, one subscriber each, saturated',
    scenario: 'topics',
    xLabel: 'topics',
    yLabel: 'CPU µs per message',
    steps: [100, 300, 1_000, 3_000, 10_000].map((topics) => ({ topics })),
    x: ({ topics }) => topics,
    series: COSTS,
  },
  {
    name: 'publish-cost-against-payload',
    title: 'Cost of a publish against its payload, single POSTs',
    scenario: 'ingest',
    xLabel: 'bytes of payload',
    yLabel: 'CPU µs per message',
    steps: PAYLOADS_BYTES.map((payloadBytes) => ({ payloadBytes })),
    x: ({ payloadBytes }) => payloadBytes,
    series: COSTS,
  },
  {
    name: 'delivery-cost-against-payload',
    title: 'Cost of a delivery against its payload, 100 sockets, saturated',
    scenario: 'fan-out',
    xLabel: 'bytes of payload',
    yLabel: 'CPU µs per delivery',
    // Fewer than usual: what is under way has to fit into what a slow consumer may leave lying.
    steps: PAYLOADS_BYTES.map((payloadBytes) => ({ payloadBytes, subscribers: 100, underWay: 16 })),
    x: ({ payloadBytes }) => payloadBytes,
    series: COSTS,
  },
  {
    name: 'catching-up-against-backlog',
    title: 'Time to catch up against backlog, one socket among 50 live ones',
    scenario: 'replay',
    xLabel: 'messages that were there before',
    yLabel: 'ms',
    steps: [1_000, 10_000, 100_000, 1_000_000].map((replayed) => ({ replayed })),
    x: ({ replayed }) => replayed,
    series: [
      ['caught up within', ({ runs: [run] }) => run && run.elapsedSeconds * 1000],
      ['p99 of live ones', ({ p99Ms }) => p99Ms],
    ],
  },
];

/** Those of `scenarios` over which there is a sweep. */
export const sweep = async (
  scenarios: readonly Scenario[],
  ours: ServiceUnderTest,
  settings: MeasureSettings,
  { context, out }: Output,
): Promise<boolean> => {
  const chosen = SWEEPS.flatMap((one) => {
    const scenario = scenarios.find(({ name }) => name === one.scenario);
    return scenario === undefined ? [] : [{ one, scenario }];
  });
  for (const { one, scenario } of chosen) {
    for (const step of one.steps) checkFileDescriptors([scenario], { ...settings.sizes, ...step });
  }
  const files: Record<string, string> = {};
  const points: Record<string, readonly Measured[]> = {};
  const tables: string[] = [];
  for (const { one, scenario } of chosen) {
    const measured: Measured[] = [];
    for (const step of one.steps) {
      const sizes = { ...settings.sizes, ...step };
      const runs = await measure(scenario, ours, { ...settings, sizes });
      measured.push([sizes, summarise(scenario, ours, sizes, runs)]);
    }
    points[one.name] = measured;
    files[`${one.name}.svg`] = drawn(one, measured, context);
    tables.push(`## ${one.title}`, tabulated(one, measured));
  }
  const markdown = [describeContext(context), ...tables, ''].join('\n\n');
  await writeResults(out, {
    ...files,
    'sweep.md': markdown,
    'sweep.json': JSON.stringify({ ...context, points }),
  });
  console.log(markdown);
  return Object.values(points).every((measured) => measured.every(([, summary]) => isFaultless(summary)));
};

const drawn = (
  { title, xLabel, yLabel, x, series }: Sweep,
  measured: readonly Measured[],
  { date, machine: { cpu, cores, node, valkey }, cores: { service } }: Context,
): string =>
  toSvg({
    title,
    subtitle:
      `${date.slice(0, 10)}, ${cpu}, ${cores} cores, Node ${node}, Valkey ${valkey}` +
      (service === undefined ? '' : '; proxy on one core'),
    xLabel,
    yLabel,
    series: series.map(([name, y]): Series => ({
      name,
      points: measured.flatMap(([sizes, summary]): readonly Point[] => {
        const value = y(summary);
        return value === undefined ? [] : [{ x: x(sizes), y: value }];
      }),
    })),
  });

const tabulated = ({ xLabel, yLabel, x, series }: Sweep, measured: readonly Measured[]): string =>
  table(
    [xLabel, ...series.map(([name]) => `${name}, ${yLabel}`), 'per second'],
    measured.map(([sizes, summary]) => [
      whole(x(sizes)),
      ...series.map(([, y]) => digits(y(summary), 2)),
      whole(summary.perSecond),
    ]),
  );
