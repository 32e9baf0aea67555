/**
 * Runs one scenario against one service. Each time the service and its Valkey are new, so that no scenario inherits the
 * heap or the backlog of another.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGenerator } from './generator-process.js';
import type { Measurement } from './generator/job.js';
import type { ServiceUnderTest } from './peers/service-under-test.js';
import type { Scenario } from './scenarios/scenario.js';
import type { Cores } from './servers/cores.js';
import { familyOf } from './servers/child.js';
import { startValkey } from './servers/valkey.js';
import type { Sizes } from './sizes.js';

export interface MeasureSettings {
  readonly runs: number;
  readonly seconds: number;
  readonly sizes: Sizes;
  readonly cores: Cores;
  /** Folder for a CPU profile of the service. */
  readonly profile?: string;
}

const LOG_LINES_SHOWN = 5;

export const measure = async (
  scenario: Scenario,
  service: ServiceUnderTest,
  { runs, seconds, sizes, cores, profile }: MeasureSettings,
): Promise<readonly Measurement[]> => {
  const folder = mkdtempSync(join(tmpdir(), 'pulsar-bench-'));
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  process.once('exit', removeFolder);
  const apiKey = randomBytes(24).toString('base64url');
  const jwtSecret = randomBytes(32).toString('base64url');
  const valkey = service.hasStore ? await startValkey(folder, cores.valkey) : undefined;
  const started = await service.start({
    folder,
    apiKey,
    jwtSecret,
    valkeyPort: valkey?.port,
    core: cores.service,
    profile,
  });
  const generator = startGenerator(cores.generator);
  const measurements: Measurement[] = [];
  const times = scenario.isOnce ? 1 : runs;
  let exitCode: number | null;
  try {
    for (let run = 1; run <= times; run++) {
      const measurement = await generator.run({
        scenario: scenario.name,
        seconds,
        sizes,
        client: service.client,
        port: started.port,
        apiKey,
        jwtSecret,
        servicePids: familyOf(started.pid),
        storePids: valkey === undefined ? [] : [valkey.pid],
      });
      measurements.push(measurement);
      say(`${scenario.name}, ${service.name} ${run}/${times}: ${inShort(measurement)}`);
      for (const failure of measurement.failures) say(`  ${failure}`);
    }
  } finally {
    generator.stop();
    exitCode = await started.stop();
    sayLog(started.output());
    await valkey?.stop();
    process.removeListener('exit', removeFolder);
    removeFolder();
  }
  if (exitCode !== 0) throw new Error(`${service.title} ended with ${String(exitCode)} and not with 0`);
  return measurements;
};

const sayLog = (log: string): void => {
  const lines = log.split('\n').filter((line) => line !== '');
  if (lines.length > 0) say(`  the service has logged ${lines.length} lines, first of all:`);
  for (const line of lines.slice(0, LOG_LINES_SHOWN)) say(`  ${line}`);
};

const inShort = ({ count, elapsedSeconds, cpu, lost, duplicated, reordered, failed }: Measurement): string =>
  `${Math.round(count / elapsedSeconds)}/s, ${((cpu.service / count) * 1e6).toFixed(2)} µs, ` +
  `lost ${lost}, duplicated ${duplicated}, reordered ${reordered}, failed ${failed}`;

const say = (text: string): void => console.error(text);
