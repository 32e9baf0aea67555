/** This service beside its peers, scenario by scenario, with ratios: those of one run travel, absolute figures do not. */
import { describeContext, isCoreShared, type Context } from './report.js';
import { limitOf, type Summary } from './summary.js';
import { digits, latencies, table, whole } from './table.js';

export interface Comparison extends Context {
  readonly scenarios: readonly ComparedScenario[];
  /** Why a peer is not in it. */
  readonly missing: readonly { readonly service: string; readonly reason: string }[];
}

export interface ComparedScenario {
  readonly title: string;
  readonly ours: Summary;
  readonly peers: readonly ComparedPeer[];
}

export interface ComparedPeer {
  readonly title: string;
  /** Undefined: it cannot do this. */
  readonly summary: Summary | undefined;
}

const TITLES = [
  'service',
  'per second',
  'server µs',
  'Valkey µs',
  'limited by',
  'p50 / p95 / p99 ms',
  'KiB each',
  'lost',
  'our rate is',
  'our CPU is',
];

export const toComparison = (comparison: Comparison): string =>
  [
    describeContext(comparison),
    'Rate: ours divided by the peer’s, above 1 is better. CPU: server and Valkey together, ours divided by the peer’s, ' +
      'below 1 is better.',
    ...comparison.scenarios.flatMap(({ title, ours, peers }) => [
      `## ${title}`,
      table(TITLES, [
        [...cellsOf(ours, comparison), '', ''],
        ...peers.map(({ title: name, summary }) =>
          summary === undefined
            ? [name, ...Array<string>(TITLES.length - 1).fill('–')]
            : [...cellsOf(summary, comparison), ...ratiosOf(ours, summary)],
        ),
      ]),
    ]),
    ...comparison.missing.map(({ service, reason }) => `Not compared: ${service} (${reason}).`),
    '',
  ].join('\n\n');

const cellsOf = (summary: Summary, { cores }: Context): readonly string[] => [
  summary.service,
  whole(summary.perSecond),
  digits(summary.serviceMicroseconds, 2),
  digits(summary.storeMicroseconds, 2),
  limitOf(summary, isCoreShared(cores)),
  latencies(summary),
  digits(memoryOf(summary), 1),
  String(summary.lost),
];

const ratiosOf = (ours: Summary, peer: Summary): readonly string[] => [
  `${(ours.perSecond / peer.perSecond).toFixed(2)} ×`,
  `${(microseconds(ours) / microseconds(peer)).toFixed(2)} ×`,
];

const microseconds = ({ serviceMicroseconds, storeMicroseconds = 0 }: Summary): number =>
  serviceMicroseconds + storeMicroseconds;

/** Of one connection, in the scenarios that measure it. */
const memoryOf = ({ figures }: Summary): number | undefined =>
  figures.find(({ unit }) => unit === 'KiB')?.value;
