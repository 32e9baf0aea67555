/**
 * `npm run bench`: what a message costs, measured on the service as it is built and run. Ends with 1 where a message
 * was lost, doubled or out of order, or anything else went wrong: a fast answer that is wrong is not fast.
 */
import { compare } from './compare.js';
import { checkFileDescriptors } from './file-descriptors.js';
import { measure, type MeasureSettings } from './measure.js';
import { parseOptions, UsageError, type Options } from './options.js';
import { pulsarWith } from './peers/pulsar.js';
import { describeMachine } from './report/machine.js';
import { toMarkdown, type Report } from './report/report.js';
import { isFaultless, summarise, type Summary } from './report/summary.js';
import { writeResults } from './report/write-results.js';
import { chooseCores } from './servers/cores.js';
import { sweep } from './sweep.js';

const EXIT_USAGE = 64;

const bench = async (options: Options): Promise<boolean> => {
  const { runs, seconds, sizes, scenarios, driver, mode, out } = options;
  if (mode !== 'sweep') checkFileDescriptors(scenarios, sizes);
  const machine = describeMachine();
  const cores = chooseCores(options.isPinned);
  const date = new Date().toISOString();
  const settings: MeasureSettings = { runs, seconds, sizes, cores };
  const context = { date, machine, options: { runs, seconds, driver, sizes }, cores };
  const ours = pulsarWith(driver);
  switch (mode) {
    case 'compare':
      return compare(scenarios, ours, settings, { context, out });
    case 'sweep':
      return sweep(scenarios, ours, settings, { context, out });
    case 'table': {
      const summaries: Summary[] = [];
      for (const scenario of scenarios) {
        summaries.push(summarise(scenario, ours, sizes, await measure(scenario, ours, settings)));
      }
      const report: Report = { ...context, scenarios: summaries };
      const markdown = toMarkdown(report);
      await writeResults(out, { 'latest.md': markdown, 'latest.json': JSON.stringify(report) });
      console.log(markdown);
      return summaries.every(isFaultless);
    }
  }
};

const describe = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error instanceof UsageError ? error.message : (error.stack ?? error.message);
};

try {
  process.exitCode = (await bench(parseOptions(process.argv.slice(2)))) ? 0 : 1;
} catch (error) {
  console.error(describe(error));
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : 1;
}
