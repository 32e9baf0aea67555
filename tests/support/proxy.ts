/**
 * The whole service for black-box tests, with credentials that the tests know: `startProxy` runs it in this process,
 * `spawnProxy` runs `main.js` as its own process, which can be sent signals and killed. Both listen on a port of the
 * system's choice on 127.0.0.1.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import { either as E } from 'fp-ts';
import { parse } from 'yaml';
import { makeContainer } from '../../infrastructure/composition/container.js';
import { TOKENS } from '../../infrastructure/composition/tokens.js';
import { renderProblems } from '../../infrastructure/config/config-problem.js';
import type { AuthConfig, Config } from '../../infrastructure/config/config.js';
import { loadConfig } from '../../infrastructure/config/load-config.js';
import { eventually } from './eventually.js';
import type { ManualClock } from './manual-clock.js';

/** May publish everywhere and do nothing else, as an API key without patterns does. */
export const PUBLISH_KEY = 'test-publish-key-0123456789';
export const JWT_SECRET = 'a-secret-for-tests-that-is-32-bytes-long';

export interface ProxyOptions {
  /** Where messages live. Default memory. */
  readonly driver?: 'memory' | 'valkey';
  /** The Valkey for driver `valkey`. */
  readonly valkey?: { readonly port: number; readonly keyPrefix?: string };
  /**
   * Laid over the configuration that tests use, key by key; as YAML, or as an object in the file's own notation. A key
   * that is null is taken away: `{auth: null}` has the service make up credentials for development (spawnProxy only).
   */
  readonly config?: string | Tree;
}

export interface Proxy {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** `ws://127.0.0.1:<port>/ws`, on `server.ws_port` where that is set. */
  readonly wsUrl: string;
  /** A token that may publish everywhere and do nothing else. */
  readonly publishKey: string;
  /** A JWT of the user `sub`, valid for an hour unless `claims` has another `exp`. Without `topics` it may subscribe everywhere. */
  token(sub?: string, claims?: Tree): Promise<string>;
  stop(): Promise<void>;
}

type Tree = Readonly<Record<string, unknown>>;

const HOUR_SECONDS = 3600;

/** A token signed with the secret that every test proxy knows. */
export const signToken = async (sub = 'alice', claims: Tree = {}, secret = JWT_SECRET): Promise<string> =>
  new SignJWT({ exp: Math.floor(Date.now() / 1000) + HOUR_SECONDS, ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(sub)
    .sign(Buffer.from(secret));

/** What the configuration of tests says; `log` is silent in this process and spoken in another. */
const testConfig = ({ driver = 'memory', valkey, config = {} }: ProxyOptions, logLevel: string): Tree => {
  const base = {
    server: { http_port: 0, host: '127.0.0.1' },
    storage: { driver },
    auth: { api_keys: [{ name: 'publisher', key: PUBLISH_KEY }], jwt: { secret: JWT_SECRET } },
    log: { level: logLevel },
    ...(valkey === undefined
      ? {}
      : { valkey: { host: '127.0.0.1', port: valkey.port, key_prefix: valkey.keyPrefix ?? '' } }),
  };
  return overlaid(base, typeof config === 'string' ? toTree(parse(config)) : config);
};

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const toTree = (value: unknown): Tree => (isTree(value) ? value : {});

const overlaid = (under: Tree, over: Tree): Tree => {
  const result = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    result[key] = isTree(value) && isTree(below) ? overlaid(below, value) : value;
  }
  return Object.fromEntries(Object.entries(result).filter(([, value]) => value !== null));
};

const decoded = (tree: Tree): Config & { readonly auth: AuthConfig } => {
  // JSON is YAML, so this goes the way of every configuration file.
  const config = loadConfig({ text: JSON.stringify(tree), env: {} });
  if (E.isLeft(config)) throw new Error(`the test's configuration is wrong:\n${renderProblems(config.left)}`);
  const { auth } = config.right;
  if (auth === undefined) throw new Error('a proxy in this process needs an auth section');
  return { ...config.right, auth };
};

/** The service in this process. `clock` takes the place of the system's, and moves on by itself only while it stops. */
export const startProxy = async (
  options: ProxyOptions & { readonly clock?: ManualClock } = {},
): Promise<Proxy> => {
  const config = decoded(testConfig(options, 'silent'));
  const container = makeContainer(config, config.auth, '0.0.0-test');
  if (options.clock !== undefined) {
    container.rebind(TOKENS.Clock).toConstantValue(options.clock);
  }
  const lifecycle = container.get(TOKENS.Lifecycle);
  const { httpPort, wsPort } = await lifecycle.start();
  const stop = async (): Promise<void> => {
    let isStopped = false as boolean;
    const stopping = lifecycle.stop().finally(() => (isStopped = true));
    // Saying goodbye is spread over time.
    while (options.clock !== undefined && !isStopped) {
      options.clock.advance(1);
      await nextTurn();
    }
    await stopping;
  };
  let stopped: Promise<void> | undefined;
  return { ...addresses(httpPort, wsPort), stop: () => (stopped ??= stop()) };
};

const addresses = (httpPort: number, wsPort: number): Omit<Proxy, 'stop'> => ({
  url: `http://127.0.0.1:${httpPort}`,
  wsUrl: `ws://127.0.0.1:${wsPort}/ws`,
  publishKey: PUBLISH_KEY,
  token: signToken,
});

export interface Exit {
  /** Null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProxyProcess extends Proxy {
  readonly pid: number;
  /** What it has printed so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Sends a signal and does not wait. */
  kill(signal: NodeJS.Signals): void;
  /** Resolves when the process has ended, whatever ended it. */
  readonly exited: Promise<Exit>;
  /** SIGTERM, and waits until it has ended. */
  stop(): Promise<void>;
}

export interface SpawnOptions extends ProxyOptions {
  /** Further environment variables; undefined takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Command line arguments. */
  readonly args?: readonly string[];
  /** The compiled file to run. Default: the service's own. */
  readonly entry?: string;
}

/** `dist/main.js`, as seen from `dist/tests/support/`. */
const MAIN = fileURLToPath(new URL('../../main.js', import.meta.url));
const START_TIMEOUT_MS = 10_000;

/** The service as its own process, configured by environment variables. Resolves once it listens. */
export const spawnProxy = async (options: SpawnOptions = {}): Promise<ProxyProcess> => {
  const env = { ...toEnvironment(testConfig(options, 'info')), ...options.env };
  const running = runMain(options.args ?? [], env, options.entry);
  let failure: string | undefined;
  void running.exited.then(({ code, signal }) => (failure = `ended with ${String(code ?? signal)}`));
  let ports: readonly [number, number] | undefined;
  try {
    await eventually(() => {
      ports = listeningPorts(running.stdout());
      if (ports === undefined && failure === undefined) throw new Error('it does not listen');
    }, START_TIMEOUT_MS);
  } catch (error) {
    failure ??= String(error);
  }
  if (ports === undefined) {
    running.kill('SIGKILL');
    throw new Error(`the proxy ${failure ?? ''}\n${running.stdout()}\n${running.stderr()}`);
  }
  return {
    ...addresses(...ports),
    ...running,
    stop: async () => {
      running.kill('SIGTERM');
      await running.exited;
    },
  };
};

/** Runs `main.js` with these variables and nothing that is set outside. For what ends by itself: --version and such. */
export const runMain = (
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
  entry = MAIN,
): Pick<ProxyProcess, 'pid' | 'stdout' | 'stderr' | 'kill' | 'exited'> => {
  const outside = Object.entries(process.env).filter(([name]) => !name.startsWith('PULSAR_'));
  if (!existsSync(entry)) throw new Error(`${entry} is missing: npm run build:all`);
  const child = spawn(process.execPath, [entry, ...args], {
    env: { ...Object.fromEntries(outside), ...env },
    // Nobody leaves a config.yaml beside the compiled main.js.
    cwd: fileURLToPath(new URL('../../', import.meta.url)),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithUs(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // `close` comes when all that it printed has been read, `exit` may come before.
  const exited = once(child, 'close').then(([code, signal]: unknown[]): Exit => ({
    code: code as Exit['code'],
    signal: signal as Exit['signal'],
  }));
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal) => void child.kill(signal),
    exited,
  };
};

/** `{server: {http_port: 0}}` to `PULSAR_SERVER_HTTP_PORT=0`; lists as JSON. */
const toEnvironment = (tree: Tree, prefix = 'PULSAR'): Record<string, string> =>
  Object.assign(
    {},
    ...Object.entries(tree).map(([key, value]): Record<string, string> => {
      const name = `${prefix}_${key.toUpperCase()}`;
      if (isTree(value)) return toEnvironment(value, name);
      return { [name]: typeof value === 'string' ? value : JSON.stringify(value) };
    }),
  ) as Record<string, string>;

const listeningPorts = (stdout: string): readonly [number, number] | undefined => {
  const line = stdout.split('\n').find((text) => text.startsWith('{') && text.includes('"listening"'));
  if (line === undefined) return undefined;
  const { httpPort, wsPort } = JSON.parse(line) as { readonly httpPort: number; readonly wsPort: number };
  return [httpPort, wsPort];
};

const children = new Set<ChildProcess>();
let cleansUp = false;

/** Whatever becomes of a test, its processes do not outlive it. */
const endWithUs = (child: ChildProcess): void => {
  children.add(child);
  child.once('exit', () => children.delete(child));
  if (cleansUp) return;
  cleansUp = true;
  process.once('exit', () => {
    for (const left of children) left.kill('SIGKILL');
  });
};
