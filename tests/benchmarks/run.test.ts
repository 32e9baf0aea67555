/** The benchmark itself, as it is started by its command, in sizes that are over at once: it must not rot unseen. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Report } from '../../benchmarks/report/report.js';

const RUN = fileURLToPath(new URL('../../benchmarks/run.js', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly errors: string;
}

const run = (...args: readonly string[]): Promise<Ended> => execute(process.execPath, [RUN, ...args]);

/** With a limit that nobody's machine is likely to have anyway. */
const runWithFewFiles = (...args: readonly string[]): Promise<Ended> =>
  execute('bash', ['-c', 'ulimit -n 1000 && exec "$0" "$@"', process.execPath, RUN, ...args]);

const execute = (file: string, args: readonly string[]): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(file, args, (_, __, errors) => resolve({ code: child.exitCode, errors }));
  });

describe('npm run bench', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pulsar-bench-test-'));
  });

  after(() => rm(folder, { recursive: true, force: true }));

  it('measures a scenario, finds no fault, and writes what it has found', async () => {
    const { code, errors } = await run(
      ...['--quick', '--no-pin', '--driver', 'memory', '--seconds', '0.5', '--out', folder],
      ...[
        '--scenario',
        'topics',
        '--size',
        'topics=20',
        '--scenario',
        'poll-one-topic',
        '--size',
        'polls=20',
      ],
    );
    expect(errors).to.contain('lost 0, duplicated 0, reordered 0, failed 0');
    expect(code, errors).to.equal(0);
    const report = JSON.parse(await readFile(join(folder, 'latest.json'), 'utf8')) as Report;
    expect(report.scenarios.map(({ name }) => name)).to.deep.equal(['topics', 'poll-one-topic']);
    for (const { perSecond, serviceMicroseconds } of report.scenarios) {
      expect(perSecond).to.be.above(0);
      expect(serviceMicroseconds).to.be.above(0);
    }
    // A topic alone has no first messages to be told apart.
    expect(report.scenarios.map(({ figures }) => figures.map(({ name }) => name))).to.deep.equal([
      ['first message of each topic', 'first message of each topic, proxy'],
      [],
    ]);
  }).timeout(60_000);

  it('says at once what it has not enough file descriptors for', async () => {
    const { code, errors } = await runWithFewFiles('--scenario', 'idle-sockets');
    expect(code).to.equal(64);
    expect(errors).to.match(/idle-sockets: up to \d+ file descriptors are needed/);
  });

  it('refuses a scenario and a size that do not exist', async () => {
    expect((await run('--scenario', 'nothing')).errors).to.contain('no scenario is called nothing');
    expect((await run('--size', 'nothing=1')).errors).to.contain('no size is called nothing');
  });

  it('refuses a size that a scenario could not be run in', async () => {
    expect((await run('--size', 'topics=0')).errors).to.contain('topics must be a number from 1 to');
    expect((await run('--size', 'payloadBytes=48')).errors).to.contain(
      'payloadBytes must be a number from 49 to',
    );
  });
});
