/**
 * A real valkey-server for tests and benchmarks: its own folder, a free port, and the faults that a test wants to see.
 * Whatever happens to this process, the server does not outlive it and its folder is removed. Install one with
 * tests/support/install-valkey.sh; a Valkey elsewhere on the disk is named by VALKEY_SERVER.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 5_000;
/** Between finding a free port and binding it, somebody else may take it. */
const START_ATTEMPTS_MAX = 5;

/** What a production Valkey is required to be configured like (DESIGN.md, section 5), plus DEBUG for faults. */
const PROFILE = [
  ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
  ...['--maxmemory-policy', 'noeviction', '--bind', '127.0.0.1', '--enable-debug-command', 'local'],
  ...['--daemonize', 'no', '--loglevel', 'notice'],
];

export interface ValkeyServer {
  readonly host: string;
  readonly port: number;
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  /** Asks it to end and waits until it has; what it stored is there again after `restart`. */
  stop(): Promise<void>;
  /** Ends it like a power failure would (SIGKILL): what it had not written to its file is lost. */
  kill(): Promise<void>;
  /** Holds it: connections stay open, nothing is answered. */
  freeze(): void;
  thaw(): void;
  /** Starts it again on the same port and folder, killing it first where it runs. `options` are for this time only. */
  restart(options?: readonly string[]): Promise<void>;
  /** The process that runs, or ran last. */
  readonly pid: number;
  /** How long its append-only file is now. */
  writtenBytes(): number;
  /** What a power failure leaves of a file that was not synced: its first `bytes`. Only while it does not run. */
  loseAfter(bytes: number): void;
}

/** Starts a server; `options` are further valkey-server arguments, and override the profile. */
export const startValkey = async (options: readonly string[] = []): Promise<ValkeyServer> => {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'pulsar-valkey-'));
    folders.add(folder);
    try {
      return new LocalValkey(port, folder, options, await launch(port, folder, options));
    } catch (error) {
      if (attempt === START_ATTEMPTS_MAX) throw error;
    }
  }
};

class LocalValkey implements ValkeyServer {
  readonly host = '127.0.0.1';
  readonly url: string;

  constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly options: readonly string[],
    private child: ChildProcess,
  ) {
    this.url = `redis://127.0.0.1:${port}`;
  }

  async stop(): Promise<void> {
    this.thaw();
    const killer = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await end(this.child, 'SIGTERM');
    clearTimeout(killer);
  }

  async kill(): Promise<void> {
    await end(this.child, 'SIGKILL');
  }

  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  thaw(): void {
    this.child.kill('SIGCONT');
  }

  async restart(options: readonly string[] = []): Promise<void> {
    await this.kill();
    this.child = await launch(this.port, this.folder, [...this.options, ...options]);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  writtenBytes(): number {
    return statSync(this.appendOnlyFile()).size;
  }

  loseAfter(bytes: number): void {
    truncateSync(this.appendOnlyFile(), bytes);
  }

  /** The newest of its incremental files, which is the one that it appends to. */
  private appendOnlyFile(): string {
    const folder = join(this.folder, 'appendonlydir');
    const files = readdirSync(folder).filter((name) => name.endsWith('.incr.aof'));
    const serial = (name: string): number => Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1]);
    const [newest] = files.sort((a, b) => serial(b) - serial(a));
    if (newest === undefined) throw new Error(`${folder} has no append-only file`);
    return join(folder, newest);
  }
}

const running = new Set<ChildProcess>();
const folders = new Set<string>();

const launch = async (port: number, folder: string, options: readonly string[]): Promise<ChildProcess> => {
  cleanUpAtExit();
  const log = join(folder, 'valkey.log');
  const place = ['--port', String(port), '--dir', folder, '--logfile', log];
  const program = process.env['VALKEY_SERVER'] ?? 'valkey-server';
  // A file that may not grow (RLIMIT_FSIZE) is then an error to it, as a full disk is, and not a signal that ends it.
  const run = ['-c', 'trap "" XFSZ; exec "$0" "$@"', program];
  const child = spawn('sh', [...run, ...PROFILE, ...place, ...options], { stdio: 'ignore' });
  // A running server must not keep a finished test process alive: it is killed at its exit.
  child.unref();
  let failure: Error | undefined;
  child.once('error', (error) => (failure = error));
  child.once('exit', (code) => {
    running.delete(child);
    failure ??= new Error(`valkey-server ended with ${String(code)}:\n${readLog(log)}`);
  });
  running.add(child);
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await answers(port, child.pid))) {
    if (failure !== undefined) throw failure;
    if (performance.now() > deadline) {
      await end(child, 'SIGKILL');
      throw new Error(`valkey-server did not answer within ${START_TIMEOUT_MS} ms:\n${readLog(log)}`);
    }
    await delay(10);
  }
  return child;
};

/** Does the very process `pid` answer PING at `port`? Another server's answer there would be a lie about ours. */
const answers = (port: number, pid: number | undefined): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    let reply = '';
    socket.setTimeout(1000, () => done(false));
    socket.once('error', () => done(false));
    socket.once('close', () => done(false));
    socket.once('connect', () => socket.write('PING\r\nINFO server\r\n'));
    socket.on('data', (chunk) => {
      reply += chunk.toString();
      const process = /process_id:(\d+)\r\n/.exec(reply);
      if (process !== null) done(reply.startsWith('+PONG') && Number(process[1]) === pid);
    });
  });

const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  // The wait is for something that happens soon, so here the child does count as work to be waited for.
  child.ref();
  child.kill(signal);
  await ended;
};

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
};

const readLog = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return `(no log: ${String(error)})`;
  }
};

let cleansUp = false;

const cleanUpAtExit = (): void => {
  if (cleansUp) return;
  cleansUp = true;
  process.once('exit', () => {
    for (const child of running) child.kill('SIGKILL');
    for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  // Without a listener these end the process and no `exit` is emitted.
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
};
