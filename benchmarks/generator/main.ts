/**
 * The load generator: a process of its own, so that what it costs is not mistaken for what the service costs. Takes
 * jobs from its parent, one at a time, and answers each with what it has measured.
 */
import { SCENARIOS } from '../scenarios/registry.js';
import type { Answer, Job } from './job.js';

let last: Job | undefined;

const run = async (job: Job): Promise<Answer> => {
  const scenario = SCENARIOS.find(({ name }) => name === job.scenario);
  if (scenario === undefined) return { error: `no scenario is called ${job.scenario}` };
  try {
    return { measurement: await scenario.run(job) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
};

process.on('message', (job: Job) => {
  last = job;
  void run(job).then((answer) => process.send?.(answer));
});

// The parent is gone without saying goodbye, so nobody else is left to end the servers.
process.on('disconnect', () => {
  for (const pid of [...(last?.servicePids ?? []), ...(last?.storePids ?? [])]) kill(pid);
  process.exit(1);
});

const kill = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
};
