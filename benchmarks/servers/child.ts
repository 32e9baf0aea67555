/**
 * Processes that the benchmark starts. Whatever happens to the benchmark, they end with it: at its exit they are
 * killed, and if it is killed itself, the load generator notices and kills them.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface Child {
  readonly pid: number;
  /** What it has printed up to now. */
  output(): string;
  isRunning(): boolean;
  /** Asks it to end, waits, and kills it where it does not. Resolves to its exit code, null where it was killed. */
  stop(): Promise<number | null>;
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  /** The one core it may use; undefined: any. */
  readonly core: number | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly folder: string;
  readonly outputFile: string;
}

/** Longer than the service takes to say goodbye to all of its sockets. */
const STOP_TIMEOUT_MS = 15_000;
const READY_TIMEOUT_MS = 10_000;

const running = new Set<ChildProcess>();

export const launch = ({ command, args, core, env, folder, outputFile }: Launch): Child => {
  killAllAtExit();
  const output = openSync(outputFile, 'a');
  const [file, ...rest] = pinned(core, [command, ...args]);
  const child = spawn(file!, rest, { cwd: folder, env, stdio: ['ignore', output, output] });
  closeSync(output);
  track(child);
  return {
    pid: child.pid ?? 0,
    output: () => readFileSync(outputFile, 'utf8'),
    isRunning: () => isRunning(child),
    stop: () => stop(child),
  };
};

/** taskset becomes the command by exec, so the process keeps its id. */
export const pinned = (core: number | undefined, command: readonly string[]): readonly string[] =>
  core === undefined ? command : ['taskset', '--cpu-list', String(core), ...command];

/** The process and those that it has started itself. */
export const familyOf = (pid: number): readonly number[] => {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => familyOf(Number(child))))];
};

/** Resolves to true where something listens on the port. */
export const answersAt = async (port: number): Promise<boolean> => {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
};

/** Makes a process end with this one. */
export const track = (child: ChildProcess): void => {
  running.add(child);
  child.once('exit', () => running.delete(child));
  // A command that does not exist is told here and not by an exit; whoever waits for it sees that it does not run.
  child.once('error', () => running.delete(child));
};

/** Waits until `isReady`; a child that ends before that is an error with what it has printed. */
export const untilReady = async (
  name: string,
  child: Child,
  isReady: () => Promise<boolean>,
): Promise<void> => {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (!(await isReady())) {
    if (!child.isRunning()) throw new Error(`${name} has ended:\n${child.output()}`);
    if (performance.now() > deadline) throw new Error(`${name} is not ready:\n${child.output()}`);
    await delay(20);
  }
};

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
};

const isRunning = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null;

const stop = async (child: ChildProcess): Promise<number | null> => {
  if (!isRunning(child)) return child.exitCode;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exit;
  clearTimeout(killer);
  return child.exitCode;
};

let killsAtExit = false;

const killAllAtExit = (): void => {
  if (killsAtExit) return;
  killsAtExit = true;
  process.once('exit', () => {
    for (const child of running) child.kill('SIGKILL');
  });
  // Without a listener these end the process and no `exit` is emitted.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
};
