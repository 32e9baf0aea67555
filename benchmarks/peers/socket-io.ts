/**
 * socket.io, alone or with its adapter for Redis streams. It is no dependency of this project: it has a package and a
 * lock file of its own in benchmarks/peers/socket.io, and is installed there from npm when it is first compared with.
 */
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { answersAt, freePort, launch, untilReady } from '../servers/child.js';
import type { ServiceUnderTest } from './service-under-test.js';

/** Not compiled, since what it imports is not there then. */
const FOLDER = resolve('benchmarks/peers/socket.io');
const INSTALL_TIMEOUT_MS = 120_000;

const POLLS_ARE_A_TRANSPORT = 'polls only as a transport of its sockets';

const socketIoOf = (hasStore: boolean): ServiceUnderTest => ({
  name: hasStore ? 'socket.io+store' : 'socket.io',
  title: hasStore ? 'socket.io + Valkey (redis-streams adapter)' : 'socket.io, memory only',
  client: 'socket.io',
  hasStore,
  cannot: {
    'ingest-bulk': 'has no bulks',
    'poll-one-topic': POLLS_ARE_A_TRANSPORT,
    'poll-one-topic-light': POLLS_ARE_A_TRANSPORT,
    'poll-many-topics': POLLS_ARE_A_TRANSPORT,
    'held-polls': POLLS_ARE_A_TRANSPORT,
    replay: 'delivers nothing from before a connection',
  },
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
  if (!existsSync(FOLDER)) return `run it from the root of the repository: ${FOLDER} does not exist`;
  // Fails where something is not there, or there in another version than the package asks for.
  if (npm('ls').status === 0) return undefined;
  const { status, error, stderr } = npm('ci', '--no-audit', '--no-fund', '--loglevel=error');
  return status === 0 ? undefined : `npm ci in ${FOLDER} has failed: ${error?.message ?? stderr.trim()}`;
};

const npm = (...args: readonly string[]): SpawnSyncReturns<string> =>
  spawnSync('npm', args, { cwd: FOLDER, encoding: 'utf8', timeout: INSTALL_TIMEOUT_MS });

export const socketIo = socketIoOf(false);
export const socketIoWithStore = socketIoOf(true);
