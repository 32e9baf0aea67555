/**
 * Which process may run where. The service has a core to itself, so that its rate is the rate of one core and two
 * runs can be compared; Valkey and the load generator share the next one where there are only two.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Cores {
  readonly service: number | undefined;
  readonly valkey: number | undefined;
  readonly generator: number | undefined;
}

const ANY: Cores = { service: undefined, valkey: undefined, generator: undefined };

export const chooseCores = (isPinned: boolean): Cores => {
  if (!isPinned || spawnSync('taskset', ['--version']).status !== 0) return ANY;
  const [service, valkey, generator] = allowedCores();
  if (service === undefined || valkey === undefined) return ANY;
  return { service, valkey, generator: generator ?? valkey };
};

/** `0-2,5` in /proc/self/status; a container may be given other cores than the first ones. */
const allowedCores = (): readonly number[] => {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [first = NaN, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
};
