/** What an operator sees of a Valkey and does to it, past the adapters. */
import { Redis } from 'iovalkey';
import type { Place } from './open-valkey.js';

const connections = new Set<Redis>();

/** A connection of its own, which is not renewed. */
export const connectAsAdmin = ({ host, port }: Place, db = 0): Redis => {
  const admin = new Redis({ host, port, db, retryStrategy: () => null });
  // What it is asked fails with the same error.
  admin.on('error', () => undefined);
  connections.add(admin);
  return admin;
};

// A test that fails may leave one open, which would keep the run from ending.
after(() => {
  for (const admin of connections) admin.disconnect();
});

/** How often a command was executed since Valkey was started. */
export const commandCalls = async (admin: Redis, command: string): Promise<number> => {
  const stats = await admin.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
};

/** A number of INFO. */
export const infoNumber = async (admin: Redis, field: string): Promise<number> =>
  Number(new RegExp(`\\b${field}:(\\d+)`).exec(await admin.info('everything'))?.[1]);

/** The ids of the connections with this name. */
export const clientIds = async (admin: Redis, name: string): Promise<readonly string[]> =>
  String(await admin.client('LIST'))
    .split('\n')
    .filter((line) => line.includes(`name=${name} `))
    .map((line) => /\bid=(\d+)/.exec(line)?.[1] ?? '');
