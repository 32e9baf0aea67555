/**
 * `npm run bench`: what a message costs, measured on the service as it is built and run. Every scenario gets a service
 * and a Valkey of its own, so that none inherits the heap or the backlog of another. Ends with 1 where a message was
 * lost, doubled or out of order, or anything else went wrong: a fast answer that is wrong is not fast.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGenerator } from './generator-process.js';
import type { Measurement } from './generator/job.js';
import { parseOptions, UsageError, type Options } from './options.js';
import { describeMachine } from './report/machine.js';
import { toMarkdown, writeReport, type Report } from './report/report.js';
import { isFaultless, summarise, type Summary } from './report/summary.js';
import { SCENARIOS } from './scenarios/registry.js';
import type { Scenario } from './scenarios/scenario.js';
import { chooseCores, type Cores } from './servers/cores.js';
import { startService } from './servers/service.js';
import { startValkey } from './servers/valkey.js';

const EXIT_USAGE = 64;
const LOG_LINES_SHOWN = 5;

const say = (text: string): void => console.error(text);

const bench = async (options: Options): Promise<boolean> => {
  const machine = describeMachine();
  const cores = chooseCores(options.isPinned);
  const date = new Date().toISOString();
  const summaries: Summary[] = [];
  for (const scenario of SCENARIOS) {
    if (!options.scenarios.includes(scenario.name)) continue;
    summaries.push(summarise(scenario, await measure(scenario, options, cores)));
  }
  const { runs, seconds, driver } = options;
  const report: Report = { date, machine, options: { runs, seconds, driver }, cores, scenarios: summaries };
  await writeReport(options.out, report);
  console.log(toMarkdown(report));
  return summaries.every(isFaultless);
};

const measure = async (
  scenario: Scenario,
  options: Options,
  cores: Cores,
): Promise<readonly Measurement[]> => {
  const folder = mkdtempSync(join(tmpdir(), 'pulsar-bench-'));
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  process.once('exit', removeFolder);
  const apiKey = randomBytes(24).toString('base64url');
  const jwtSecret = randomBytes(32).toString('base64url');
  const valkey = options.driver === 'valkey' ? await startValkey(folder, cores.valkey) : undefined;
  const { profile } = options;
  const service = await startService(folder, {
    apiKey,
    jwtSecret,
    valkeyPort: valkey?.port,
    profile: profile === undefined ? undefined : join(profile, scenario.name),
    core: cores.service,
  });
  const generator = startGenerator(cores.generator);
  const measurements: Measurement[] = [];
  let exitCode: number | null;
  try {
    for (let run = 1; run <= options.runs; run++) {
      const measurement = await generator.run({
        scenario: scenario.name,
        seconds: options.seconds,
        port: service.port,
        apiKey,
        jwtSecret,
        servicePid: service.pid,
        valkeyPid: valkey?.pid,
      });
      measurements.push(measurement);
      say(`${scenario.name} ${run}/${options.runs}: ${inShort(measurement)}`);
      for (const failure of measurement.failures) say(`  ${failure}`);
    }
  } finally {
    generator.stop();
    exitCode = await service.stop();
    sayLog(service.output());
    await valkey?.stop();
    process.removeListener('exit', removeFolder);
    removeFolder();
  }
  if (exitCode !== 0) throw new Error(`the service ended with ${String(exitCode)} and not with 0`);
  return measurements;
};

const sayLog = (log: string): void => {
  const lines = log.split('\n').filter((line) => line !== '');
  if (lines.length > 0) say(`  the service has logged ${lines.length} lines, first of all:`);
  for (const line of lines.slice(0, LOG_LINES_SHOWN)) say(`  ${line}`);
};

const inShort = ({ count, elapsedSeconds, cpu, lost, duplicated, reordered, failed }: Measurement): string =>
  `${Math.round(count / elapsedSeconds)}/s, proxy ${((cpu.service / count) * 1e6).toFixed(2)} µs, ` +
  `lost ${lost}, duplicated ${duplicated}, reordered ${reordered}, failed ${failed}`;

const describe = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error instanceof UsageError ? error.message : (error.stack ?? error.message);
};

try {
  process.exitCode = (await bench(parseOptions(process.argv.slice(2)))) ? 0 : 1;
} catch (error) {
  say(describe(error));
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : 1;
}
