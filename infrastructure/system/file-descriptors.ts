/**
 * Every connection is a file descriptor, and a process that has none left cannot accept: clients wait and are told
 * nothing. Whether there are enough for the connections that the configuration allows is known at the start.
 */
import { readFileSync } from 'node:fs';
import type { Logger } from '../../application/ports/logger.js';

/** What a process needs beside its clients: ports, Valkey, files of Node, answers under way. */
const BESIDE_CONNECTIONS = 200;

/** `Max open files            1024                 524288               files`: the first is the one that holds. */
const LIMIT = /^Max open files\s+(\d+)\s/m;

/** From the text of /proc/<pid>/limits; undefined where it names none. */
export const parseDescriptorsMax = (limits: string): number | undefined => {
  const found = LIMIT.exec(limits)?.[1];
  return found === undefined ? undefined : Number(found);
};

/** How many this process may open, and with it every worker; undefined where there is no limit or no /proc. */
const descriptorsMax = (): number | undefined => {
  try {
    return parseDescriptorsMax(readFileSync('/proc/self/limits', 'utf8'));
  } catch {
    return undefined;
  }
};

/** One warning at the start, with both numbers and what to do. */
export const warnOfFewDescriptors = (connectionsMax: number, logger: Logger): void => {
  const available = descriptorsMax();
  const needed = connectionsMax + BESIDE_CONNECTIONS;
  if (available === undefined || available >= needed) return;
  logger.warn('file_descriptors_low', {
    available,
    needed,
    note: `raise the limit of open files to ${needed} (ulimit -n, LimitNOFILE of systemd, --ulimit nofile of Docker) or lower limits.max_connections_per_instance`,
  });
};
