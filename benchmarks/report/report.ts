/** The results as a Markdown table for people; the same as JSON is for whatever compares them. */
import type { Options } from '../options.js';
import type { Unit } from '../scenarios/scenario.js';
import type { Cores } from '../servers/cores.js';
import type { Machine } from './machine.js';
import { limitOf, type Summary } from './summary.js';
import { digits, latencies, percent, short, table, whole } from './table.js';

/** What the figures were measured on and how; without it they say nothing. */
export interface Context {
  readonly date: string;
  readonly machine: Machine;
  readonly options: Pick<Options, 'runs' | 'seconds' | 'driver' | 'sizes'>;
  readonly cores: Cores;
}

export interface Report extends Context {
  readonly scenarios: readonly Summary[];
}

const COLUMNS: readonly (readonly [title: string, cell: (summary: Summary, context: Context) => string])[] = [
  ['scenario', ({ title }) => title],
  ['per second', ({ perSecond, unit }) => `${whole(perSecond)} ${plural(unit)}`],
  ['proxy µs', ({ serviceMicroseconds }) => digits(serviceMicroseconds, 2)],
  ['Valkey µs', ({ storeMicroseconds }) => digits(storeMicroseconds, 2)],
  ['generator µs', ({ generatorMicroseconds }) => digits(generatorMicroseconds, 2)],
  [
    'busy: proxy / Valkey / generator',
    ({ serviceBusy, storeBusy, generatorBusy }) =>
      [serviceBusy, storeBusy, generatorBusy].map(percent).join(' / '),
  ],
  ['limited by', (summary, { cores }) => limitOf(summary, isCoreShared(cores))],
  ['p50 / p95 / p99 ms', latencies],
  ['lost', ({ lost }) => String(lost)],
  ['duplicated', ({ duplicated }) => String(duplicated)],
  ['reordered', ({ reordered }) => String(reordered)],
  ['failed', ({ failed }) => String(failed)],
];

export const toMarkdown = (report: Report): string => {
  const figures = report.scenarios.flatMap(({ title, figures: own }) =>
    own.map(({ name, value, unit }) => [title, name, `${short(value)} ${unit}`]),
  );
  return [
    describeContext(report),
    table(
      COLUMNS.map(([title]) => title),
      report.scenarios.map((summary) => COLUMNS.map(([, cell]) => cell(summary, report))),
    ),
    ...(figures.length === 0 ? [] : [table(['scenario', 'figure', 'value'], figures)]),
    '',
  ].join('\n\n');
};

export const describeContext = ({ date, machine, options, cores }: Context): string => {
  const { cpu, cores: coreCount, memoryGiB, system, node, valkey, loadBefore } = machine;
  const pinning =
    cores.service === undefined
      ? 'processes not pinned'
      : `proxy on core ${cores.service}, Valkey on ${cores.valkey}, generator on ${cores.generator}`;
  return (
    `${date.slice(0, 10)}, ${cpu}, ${coreCount} cores, ${memoryGiB} GiB, ${system}, Node ${node}, Valkey ${valkey}; ` +
    `driver ${options.driver}, medians of ${options.runs} × ${options.seconds} s; ${pinning}; ` +
    `load before the start ${loadBefore.toFixed(2)}.`
  );
};

/** Where nobody is pinned, nobody knows; then the kernel gives each what there is. */
export const isCoreShared = ({ valkey, generator }: Cores): boolean =>
  valkey !== undefined && valkey === generator;

const PLURALS: Readonly<Record<Unit, string>> = {
  message: 'messages',
  delivery: 'deliveries',
  connection: 'connections',
};

const plural = (unit: Unit): string => PLURALS[unit];
