/** The command line of `npm run bench -- …`. */
import { parseArgs } from 'node:util';
import { SCENARIOS } from './scenarios/registry.js';

export type Driver = 'memory' | 'valkey';

export interface Options {
  /** Measured windows per scenario; the table shows their medians. Default 3. */
  readonly runs: number;
  /** Length of one measured window. Default 5. Shorter is noisier: the kernel counts CPU in steps of 10 ms. */
  readonly seconds: number;
  readonly scenarios: readonly string[];
  readonly driver: Driver;
  /** Each process on a core of its own, as far as there are cores. Default: where `taskset` exists. */
  readonly isPinned: boolean;
  /** Where latest.json and latest.md go. */
  readonly out: string;
  /** Folder for CPU profiles of the service; undefined: none are written. They slow the service down. */
  readonly profile: string | undefined;
}

const USAGE = `npm run bench -- [options]
  --runs N            measured windows per scenario (default 3)
  --seconds S         length of one window (default 5)
  --scenario NAME     only this one; may be repeated: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --driver DRIVER     valkey (default) or memory
  --no-pin            let the kernel move the processes between cores
  --out DIR           where latest.json and latest.md go (default benchmarks/results)
  --profile DIR       also write CPU profiles of the service (its figures are then too high)`;

/** Longer than an hour is a mistake in the unit. */
const SECONDS_MAX = 3600;
const RUNS_MAX = 100;

/** A mistake on the command line is thrown as an error with the usage as its message. */
export const parseOptions = (args: readonly string[]): Options => {
  const { values } = parse(args);
  if (values.help === true) throw new UsageError(USAGE);
  const names = SCENARIOS.map(({ name }) => name);
  const scenarios = values.scenario ?? names;
  const unknown = scenarios.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new UsageError(`no scenario is called ${unknown}\n${USAGE}`);
  const driver = values.driver ?? 'valkey';
  if (driver !== 'valkey' && driver !== 'memory')
    throw new UsageError(`no driver is called ${driver}\n${USAGE}`);
  return {
    runs: Math.ceil(numberOf('--runs', values.runs ?? '3', RUNS_MAX)),
    seconds: numberOf('--seconds', values.seconds ?? '5', SECONDS_MAX),
    scenarios,
    driver,
    isPinned: values['no-pin'] !== true,
    out: values.out ?? 'benchmarks/results',
    profile: values.profile,
  };
};

export class UsageError extends Error {}

const parse = (args: readonly string[]) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        runs: { type: 'string' },
        seconds: { type: 'string' },
        scenario: { type: 'string', multiple: true },
        driver: { type: 'string' },
        'no-pin': { type: 'boolean' },
        out: { type: 'string' },
        profile: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
};

const numberOf = (option: string, text: string, max: number): number => {
  const number = Number(text);
  if (number > 0 && number <= max) return number;
  throw new UsageError(`${option} must be a number above 0 and at most ${max}\n${USAGE}`);
};
