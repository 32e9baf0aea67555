/** The command lines of `npm run bench -- …` and `npm run bench:profile -- …`. */
import { parseArgs } from 'node:util';
import { SCENARIOS } from './scenarios/registry.js';
import type { Scenario } from './scenarios/scenario.js';
import { boundsOf, DEFAULT_SIZES, isSize, QUICK_SIZES, type Sizes } from './sizes.js';

export type Driver = 'memory' | 'valkey';

export interface Options {
  /** What is made of the measurements: a table, a comparison with the peers, or charts over sizes. */
  readonly mode: 'table' | 'compare' | 'sweep';
  /** Measured windows per scenario; the table shows their medians. Default 3. */
  readonly runs: number;
  /** Length of one measured window. Default 5, for a sweep 2. Shorter is noisier: the kernel counts CPU in steps of 10 ms. */
  readonly seconds: number;
  readonly scenarios: readonly Scenario[];
  readonly sizes: Sizes;
  readonly driver: Driver;
  /** Each process on a core of its own, as far as there are cores. Default: where `taskset` exists. */
  readonly isPinned: boolean;
  /** Where the results go. */
  readonly out: string;
}

const USAGE = `npm run bench -- [options]
  --runs N            measured windows per scenario (default 3)
  --seconds S         length of one window (default 5, with --sweep 2)
  --scenario NAME     only this one; may be repeated: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --size NAME=N       how large a scenario is; may be repeated: ${Object.entries(DEFAULT_SIZES)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ')}
  --quick             small sizes, one window of 2 s: to see that everything works
  --compare           the same against the peers that are installed, and against Node itself
  --sweep             over many sizes, as charts
  --driver DRIVER     valkey (default) or memory
  --no-pin            let the kernel move the processes between cores
  --out DIR           where the results go (default benchmarks/results; with --quick nowhere)`;

/** Longer than an hour is a mistake in the unit. */
const SECONDS_MAX = 3600;
const RUNS_MAX = 100;
const RESULTS = 'benchmarks/results';
const QUICK = { runs: '1', seconds: '2' };
const USUAL = { runs: '3', seconds: '5' };
/** Many points, of which the line is what counts. */
const SWEPT = { runs: '3', seconds: '2' };

export class UsageError extends Error {}

/** A mistake on the command line is thrown as an error with the usage as its message. */
export const parseOptions = (args: readonly string[]): Options => {
  const values = parse(args);
  if (values.help === true) throw new UsageError(USAGE);
  const isQuick = values.quick === true;
  const usual = isQuick ? QUICK : values.sweep === true ? SWEPT : USUAL;
  if (values.compare === true && values.sweep === true) throw wrong('--compare and --sweep are two runs');
  const driver = values.driver ?? 'valkey';
  if (driver !== 'valkey' && driver !== 'memory') throw wrong(`no driver is called ${driver}`);
  return {
    mode: values.compare === true ? 'compare' : values.sweep === true ? 'sweep' : 'table',
    runs: Math.ceil(numberOf('--runs', values.runs ?? usual.runs, RUNS_MAX)),
    seconds: numberOf('--seconds', values.seconds ?? usual.seconds, SECONDS_MAX),
    scenarios: chosen(values.scenario),
    sizes: sizesOf(isQuick ? QUICK_SIZES : DEFAULT_SIZES, values.size ?? []),
    driver,
    isPinned: values['no-pin'] !== true,
    out: values.out ?? (isQuick ? '' : RESULTS),
  };
};

const parse = (args: readonly string[]) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        runs: { type: 'string' },
        seconds: { type: 'string' },
        scenario: { type: 'string', multiple: true },
        size: { type: 'string', multiple: true },
        quick: { type: 'boolean' },
        compare: { type: 'boolean' },
        sweep: { type: 'boolean' },
        driver: { type: 'string' },
        'no-pin': { type: 'boolean' },
        out: { type: 'string' },
      },
    }).values;
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
};

const chosen = (names: readonly string[] | undefined): readonly Scenario[] => {
  const unknown = names?.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) throw wrong(`no scenario is called ${unknown}`);
  return SCENARIOS.filter(({ name }) => names?.includes(name) ?? true);
};

const sizesOf = (defaults: Sizes, given: readonly string[]): Sizes =>
  given.reduce((sizes, text) => {
    const [name = '', value = ''] = text.split('=', 2);
    if (!isSize(name)) throw wrong(`no size is called ${name}`);
    const size = Math.ceil(Number(value));
    const [min, max] = boundsOf(name);
    if (size >= min && size <= max) return { ...sizes, [name]: size };
    throw wrong(`--size ${name} must be a number from ${min} to ${max}`);
  }, defaults);

const numberOf = (option: string, text: string, max: number): number => {
  const number = Number(text);
  if (number > 0 && number <= max) return number;
  throw wrong(`${option} must be a number above 0 and at most ${max}`);
};

const wrong = (what: string): UsageError => new UsageError(`${what}\n${USAGE}`);
