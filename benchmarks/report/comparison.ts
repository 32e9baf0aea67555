/** This service beside its peers, scenario by scenario, with ratios: those of one run travel, absolute figures do not. */
import { describeContext, isCoreShared, type Context } from './report.js';
import { limitOf, type Summary } from './summary.js';
import { digits, latencies, table, whole } from './table.js';

export interface Comparison extends Context {
  readonly scenarios: readonly ComparedScenario[];
  /** Why a peer is not in it. */
  readonly missing: readonly { readonly service: string; readonly reason: string }[];
  /** Titles of scenarios that no peer can be run in. */
  readonly without: readonly string[];
}

export interface ComparedScenario {
  readonly title: string;
  readonly ours: Summary;
  readonly peers: readonly ComparedPeer[];
}

/** What was measured, or why nothing was. */
export type ComparedPeer = { readonly title: string } & (
  { readonly summary: Summary } | { readonly reason: string }
);

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
        ...peers.map((peer) =>
          'reason' in peer
            ? [`${peer.title}: ${peer.reason}`, ...Array<string>(TITLES.length - 1).fill('–')]
            : [...cellsOf(peer.summary, comparison), ...ratiosOf(ours, peer.summary)],
        ),
      ]),
    ]),
    ...comparison.without.map((title) => `Not compared, since none of the peers can do it: ${title}.`),
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
  ratio(ours.perSecond, peer.perSecond),
  ratio(microseconds(ours), microseconds(peer)),
];

/** A small scenario may take less CPU than the kernel counts. */
const ratio = (ours: number, theirs: number): string =>
  theirs === 0 ? '–' : `${(ours / theirs).toFixed(2)} ×`;

const microseconds = ({ serviceMicroseconds, storeMicroseconds = 0 }: Summary): number =>
  serviceMicroseconds + storeMicroseconds;

/** Of one connection, in the scenarios that measure it. */
const memoryOf = ({ figures }: Summary): number | undefined =>
  figures.find(({ unit }) => unit === 'KiB')?.value;
