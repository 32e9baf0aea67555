/** What the figures were measured on; without it they say nothing. */
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { VALKEY_SERVER } from '../servers/valkey.js';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly valkey: string;
  /** Over the last minute before the start; well above 0 means that somebody else was using the machine. */
  readonly loadBefore: number;
}

const GIBIBYTE = 1024 ** 3;

export const describeMachine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: availableParallelism(),
  memoryGiB: Math.round((totalmem() / GIBIBYTE) * 10) / 10,
  system: `${type()} ${release()}`,
  node: process.version,
  valkey: valkeyVersion(),
  loadBefore: loadavg()[0] ?? 0,
});

const valkeyVersion = (): string => {
  try {
    return /v=(\S+)/.exec(execFileSync(VALKEY_SERVER, ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown';
  } catch {
    return 'not installed';
  }
};
