/**
 * One fault scenario as a mocha test: an installation, a workload, something that goes wrong, and the verdict. The
 * seed stands in the name of the test; FAULTS_SEED repeats it. A history that is judged badly is kept as a file.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random, seedFromEnvironment } from '../support/random.js';
import { check, renderViolations } from './checker.js';
import { Installation, type InstallationOptions } from './installation.js';
import { Workload, type WorkloadOptions } from './workload.js';

export interface Scenario {
  readonly installation?: InstallationOptions;
  readonly workload?: WorkloadOptions;
  /** Default: FAULTS_SEED, or another one every time. */
  readonly seed?: number;
  /** What this one takes at most; everything in it has a bound of its own below it. */
  readonly timeoutMs?: number;
}

export interface Scene {
  readonly installation: Installation;
  readonly workload: Workload;
  /** For what the nemesis decides. */
  readonly random: Random;
}

const TIMEOUT_MS = 180_000;

/** FAULTS_SECONDS, for scenarios that can go on for as long as one wants. */
export const faultSeconds = (usual: number): number => Number(process.env['FAULTS_SECONDS'] ?? usual);

/** `breaks` is to leave everything whole again; then the workload is healed, drained and judged. */
export const scenario = (
  what: string,
  {
    installation: options = {},
    workload: load = {},
    seed = seedFromEnvironment(),
    timeoutMs = TIMEOUT_MS,
  }: Scenario,
  breaks: (scene: Scene) => Promise<void>,
): Mocha.Test =>
  it(`${what} (seed ${seed})`, async () => {
    const random = new Random(seed);
    const installation = await Installation.open({ seed, ...options });
    const workload = await Workload.of(installation, random.fork('workload'), load);
    try {
      await workload.start();
      await breaks({ installation, workload, random: random.fork('nemesis') });
      await workload.heal();
      await workload.drain();
      judge(workload, seed);
    } finally {
      workload.abandon();
      await installation.close();
    }
  }).timeout(timeoutMs);

const judge = ({ history, world }: Workload, seed: number): void => {
  // Where nothing happens nothing is wrong, and nothing is shown either.
  for (const { clientId, deliveredMs } of history.subscriptions)
    if (deliveredMs === -Infinity) world.surprise(`${clientId} never got anything`);
  for (const what of world.installation.complaints()) world.surprise(what);
  const violations = check(history);
  if (violations.length === 0 && world.surprises.length === 0) return;
  const file = join(mkdtempSync(join(tmpdir(), 'pulsar-faults-')), 'history.json');
  writeFileSync(file, JSON.stringify({ seed, history, violations, surprises: world.surprises }));
  const surprises = world.surprises.map((what) => `\nsurprise: ${what}`).join('');
  throw new Error(`seed ${seed}, history in ${file}\n${renderViolations(violations)}${surprises}`);
};
