/** The load generator, seen from the benchmark: a child process that is sent jobs. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Answer, Job, Measurement } from './generator/job.js';
import { within } from './generator/until.js';
import { pinned, track } from './servers/child.js';

export interface Generator {
  run(job: Job): Promise<Measurement>;
  stop(): void;
}

const MAIN = fileURLToPath(new URL('./generator/main.js', import.meta.url));

/** What a run may take beyond its window: connecting, warming up, draining and reading back. */
const EXTRA_MS = 180_000;

export const startGenerator = (core: number | undefined): Generator => {
  const [execPath, ...execArgv] = pinned(core, [process.execPath]);
  const child = fork(MAIN, [], { execPath: execPath!, execArgv });
  track(child);
  return {
    run: async (job) => {
      const ended = once(child, 'exit').then((): never => {
        throw new Error('the load generator has ended');
      });
      const answered = once(child, 'message') as Promise<[Answer]>;
      child.send(job);
      const answer = await within(
        Promise.race([answered, ended]),
        job.seconds * 1000 + EXTRA_MS,
        job.scenario,
      );
      if ('error' in answer[0]) throw new Error(answer[0].error);
      return answer[0].measurement;
    },
    stop: () => child.kill('SIGKILL'),
  };
};
