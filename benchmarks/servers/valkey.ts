/** A private Valkey, configured as a production one must be (DESIGN.md, section 5) and gone with the benchmark. */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort, launch, untilReady, type Child } from './child.js';

export interface ValkeyProcess extends Child {
  readonly port: number;
}

export const VALKEY_SERVER = process.env['VALKEY_SERVER'] ?? 'valkey-server';

const PROFILE = [
  ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
  ...[
    '--maxmemory-policy',
    'noeviction',
    '--bind',
    '127.0.0.1',
    '--daemonize',
    'no',
    '--loglevel',
    'warning',
  ],
];

export const startValkey = async (parent: string, core: number | undefined): Promise<ValkeyProcess> => {
  const folder = join(parent, 'valkey');
  mkdirSync(folder);
  const port = await freePort();
  const child = launch({
    command: VALKEY_SERVER,
    args: [...PROFILE, '--port', String(port), '--dir', folder],
    core,
    env: process.env,
    folder,
    outputFile: join(parent, 'valkey.log'),
  });
  await untilReady('valkey-server', child, () => answersPing(port));
  return { ...child, port };
};

const answersPing = async (port: number): Promise<boolean> => {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    socket.write('PING\r\n');
    const [reply] = (await once(socket, 'data')) as [Buffer];
    return reply.toString().startsWith('+PONG');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
};
