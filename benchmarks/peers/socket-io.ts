/**
 * socket.io, alone or with its adapter for Redis streams. It is no dependency of this project: it is installed from
 * npm, in the versions of benchmarks/peers/socket.io, into a folder that later runs find again.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { answersAt, freePort, launch, untilReady } from '../servers/child.js';
import type { ServiceUnderTest } from './service-under-test.js';

/** Not compiled, since what it imports is not there then. */
const SOURCE = resolve('benchmarks/peers/socket.io');
const FOLDER = join(tmpdir(), 'pulsar-bench-socket.io');
const INSTALL_TIMEOUT_MS = 120_000;

const socketIoOf = (hasStore: boolean): ServiceUnderTest => ({
  name: hasStore ? 'socket.io+store' : 'socket.io',
  title: hasStore ? 'socket.io + Valkey (redis-streams adapter)' : 'socket.io, memory only',
  client: 'socket.io',
  hasStore,
  scenarios: ['ingest', 'fan-out', 'fan-out-light', 'acked', 'topics', 'idle-sockets'],
  missing: install,
  start: async ({ folder, core, valkeyPort }) => {
    const port = await freePort();
    const child = launch({
      command: process.execPath,
      args: [join(FOLDER, 'server.mjs')],
      core,
      env: {
        ...process.env,
        NODE_ENV: 'production',
        PORT: String(port),
        ...(valkeyPort === undefined ? {} : { VALKEY_PORT: String(valkeyPort) }),
      },
      folder: FOLDER,
      outputFile: join(folder, 'socket.io.log'),
    });
    await untilReady('socket.io', child, () => answersAt(port));
    return { ...child, port };
  },
});

const install = (): string | undefined => {
  if (!existsSync(SOURCE)) return `run it from the root of the repository: ${SOURCE} does not exist`;
  const isInstalled = isSame('package.json') && existsSync(join(FOLDER, 'node_modules', 'socket.io'));
  cpSync(SOURCE, FOLDER, { recursive: true });
  if (isInstalled) return undefined;
  const npm = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: FOLDER,
    encoding: 'utf8',
    timeout: INSTALL_TIMEOUT_MS,
  });
  if (npm.status === 0) return undefined;
  return `npm install in ${FOLDER} has failed: ${npm.error?.message ?? npm.stderr.trim()}`;
};

const isSame = (name: string): boolean => {
  const installed = join(FOLDER, name);
  return existsSync(installed) && readFileSync(installed).equals(readFileSync(join(SOURCE, name)));
};

export const socketIo = socketIoOf(false);
export const socketIoWithStore = socketIoOf(true);
