/**
 * `npm run bench:profile -- --scenario NAME`: runs one scenario with V8's profiler in the service, keeps the profile for
 * Chrome's DevTools, and prints the functions with most time of their own. Its figures are too high for anything else.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { checkFileDescriptors } from './file-descriptors.js';
import { measure } from './measure.js';
import { parseOptions, UsageError } from './options.js';
import { pulsarWith } from './peers/pulsar.js';
import { selfTimes, type CpuProfile } from './report/self-time.js';
import { percent, table, whole } from './report/table.js';
import { chooseCores } from './servers/cores.js';

const FUNCTIONS_SHOWN = 25;
const EXTENSION = '.cpuprofile';
const EXIT_USAGE = 64;
/** Not among the results: a profile is large, and of no use to anybody else. */
const PROFILES = 'coverage/profiles';

const profile = async (args: readonly string[]): Promise<void> => {
  const options = parseOptions(args);
  const { scenarios, sizes, seconds, driver } = options;
  const [scenario] = scenarios;
  if (scenario === undefined || scenarios.length > 1) {
    throw new UsageError('npm run bench:profile -- --scenario NAME [options of npm run bench]');
  }
  checkFileDescriptors(scenarios, sizes);
  const folder = resolve(PROFILES, scenario.name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const cores = chooseCores(options.isPinned);
  await measure(scenario, pulsarWith(driver), { runs: 1, seconds, sizes, cores, profile: folder });
  for (const file of readdirSync(folder).filter((name) => name.endsWith(EXTENSION))) {
    const path = join(folder, file);
    const times = selfTimes(JSON.parse(readFileSync(path, 'utf8')) as CpuProfile, FUNCTIONS_SHOWN);
    console.log(`\n${path}\n`);
    console.log(
      table(
        ['function', 'place', 'self ms', 'share'],
        times.map(({ name, place, milliseconds, share }) => [
          name,
          place,
          whole(milliseconds),
          percent(share),
        ]),
      ),
    );
  }
};

try {
  await profile(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof UsageError ? error.message : error);
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : 1;
}
