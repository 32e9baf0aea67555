/** What an operator sees of a Valkey and does to it, past the adapters. */
import { Redis } from 'iovalkey';
import type { Place } from './open-valkey.js';

/** A connection of its own. Disconnect it. */
export const connectAsAdmin = ({ host, port }: Place, db = 0): Redis => new Redis({ host, port, db });

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
