/**
 * The built service as users run it: its own process, configured by environment variables, every check switched on.
 * Only two limits are raised, since a benchmark is one producer with everybody's rate and needs more than one window.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, launch, untilReady, type Child } from './child.js';
import { openFilesMax, OTHER_FILES } from './open-files.js';

export interface ServiceProcess extends Child {
  readonly port: number;
}

export interface ServiceSettings {
  readonly apiKey: string;
  readonly jwtSecret: string;
  /** Undefined: messages live in the memory of the service. */
  readonly valkeyPort: number | undefined;
  readonly profile: string | undefined;
  readonly core: number | undefined;
}

/** More than any scenario has; but not more than there are files, of which the service warns. */
const CONNECTIONS_MAX = 100_000;

/** Two folders up from here, wherever the compiler has put the files. */
const MAIN = fileURLToPath(new URL('../../main.js', import.meta.url));

/** What `npm start` gives to Node. */
export const NODE_OPTIONS: readonly string[] = (
  JSON.parse(readFileSync(resolve('package.json'), 'utf8')) as {
    readonly scripts: { readonly start: string };
  }
).scripts.start
  .split(' ')
  .filter((word) => word.startsWith('--'));

export const startService = async (parent: string, settings: ServiceSettings): Promise<ServiceProcess> => {
  const { profile, core } = settings;
  const folder = join(parent, 'service');
  // A folder of its own also means that no config.yaml of the developer is read.
  mkdirSync(folder);
  const port = await freePort();
  const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(profile)}`];
  const child = launch({
    command: process.execPath,
    args: [...NODE_OPTIONS, ...profiling, MAIN],
    core,
    env: { ...withoutOwnVariables(process.env), ...variablesOf(settings, port) },
    folder,
    outputFile: join(parent, 'service.log'),
  });
  await untilReady('the service', child, () => isReady(port));
  return { ...child, port };
};

const variablesOf = (
  { apiKey, jwtSecret, valkeyPort }: ServiceSettings,
  port: number,
): Record<string, string> => ({
  NODE_ENV: 'production',
  PULSAR_SERVER_HOST: '127.0.0.1',
  PULSAR_SERVER_HTTP_PORT: String(port),
  PULSAR_AUTH_API_KEYS: JSON.stringify([{ name: 'bench', key: apiKey }]),
  PULSAR_AUTH_JWT_SECRET: jwtSecret,
  PULSAR_LOG_LEVEL: 'warn',
  PULSAR_LIMITS_RATE_LIMIT_PER_CLIENT: '1000000000',
  // The polls are at-most-once; with fsync it would be the disk that is measured.
  PULSAR_DELIVERY_AT_MOST_ONCE_DURABILITY: 'stored',
  PULSAR_LIMITS_MAX_CONNECTIONS_PER_INSTANCE: String(Math.min(CONNECTIONS_MAX, openFilesMax() - OTHER_FILES)),
  ...(valkeyPort === undefined
    ? { PULSAR_STORAGE_DRIVER: 'memory' }
    : {
        PULSAR_STORAGE_DRIVER: 'valkey',
        PULSAR_VALKEY_HOST: '127.0.0.1',
        PULSAR_VALKEY_PORT: String(valkeyPort),
      }),
});

/** What the developer has set for a service of their own must not change what is measured. */
const withoutOwnVariables = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('PULSAR_')));

const isReady = async (port: number): Promise<boolean> => {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/ready`);
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
};
