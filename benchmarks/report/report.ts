/** The results as a Markdown table for people and as JSON for whatever compares them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import type { Options } from '../options.js';
import type { Cores } from '../servers/cores.js';
import type { Machine } from './machine.js';
import type { Summary } from './summary.js';

export interface Report {
  readonly date: string;
  readonly machine: Machine;
  readonly options: Pick<Options, 'runs' | 'seconds' | 'driver'>;
  readonly cores: Cores;
  readonly scenarios: readonly Summary[];
}

const COLUMNS: readonly (readonly [title: string, cell: (summary: Summary) => string])[] = [
  ['scenario', ({ title }) => title],
  ['per second', ({ perSecond, unit }) => `${Math.round(perSecond).toLocaleString('en')} ${plural(unit)}`],
  ['proxy µs', ({ serviceMicroseconds }) => digits(serviceMicroseconds, 2)],
  ['Valkey µs', ({ valkeyMicroseconds }) => digits(valkeyMicroseconds, 2)],
  ['generator µs', ({ generatorMicroseconds }) => digits(generatorMicroseconds, 2)],
  [
    'busy: proxy / Valkey / generator',
    ({ serviceBusy, valkeyBusy, generatorBusy }) =>
      [serviceBusy, valkeyBusy, generatorBusy].map(percent).join(' / '),
  ],
  [
    'p50 / p95 / p99 ms',
    ({ p50Ms, p95Ms, p99Ms }) => [p50Ms, p95Ms, p99Ms].map((ms) => digits(ms, 2)).join(' / '),
  ],
  ['lost', ({ lost }) => String(lost)],
  ['duplicated', ({ duplicated }) => String(duplicated)],
  ['reordered', ({ reordered }) => String(reordered)],
  ['failed', ({ failed }) => String(failed)],
];

export const toMarkdown = ({ date, machine, options, cores, scenarios }: Report): string => {
  const { cpu, cores: coreCount, memoryGiB, system, node, valkey, loadBefore } = machine;
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const pinning =
    cores.service === undefined
      ? 'processes not pinned'
      : `proxy on core ${cores.service}, Valkey on ${cores.valkey}, generator on ${cores.generator}`;
  return [
    `${date.slice(0, 10)}, ${cpu}, ${coreCount} cores, ${memoryGiB} GiB, ${system}, Node ${node}, Valkey ${valkey}; ` +
      `driver ${options.driver}, medians of ${options.runs} × ${options.seconds} s; ${pinning}; ` +
      `load before the start ${loadBefore.toFixed(2)}.`,
    '',
    row(COLUMNS.map(([title]) => title)),
    row(COLUMNS.map((_, i) => (i === 0 ? '---' : '---:'))),
    ...scenarios.map((summary) => row(COLUMNS.map(([, cell]) => cell(summary)))),
    '',
  ].join('\n');
};

/** Formatted like everything else in the repository, where the newest results are kept. */
export const writeReport = async (folder: string, report: Report): Promise<void> => {
  const files = { 'latest.md': toMarkdown(report), 'latest.json': JSON.stringify(report) };
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    const filepath = join(folder, name);
    writeFileSync(filepath, await format(text, { ...(await resolveConfig(filepath)), filepath }));
  }
};

const plural = (unit: Summary['unit']): string => (unit === 'delivery' ? 'deliveries' : 'messages');

const digits = (value: number | undefined, count: number): string =>
  value === undefined ? '–' : value.toFixed(count);

const percent = (share: number | undefined): string =>
  share === undefined ? '–' : `${Math.round(share * 100)} %`;
