/** Finds and reads the configuration file, which is the one thing that `loadConfig` leaves to its caller. */
import { existsSync, readFileSync } from 'node:fs';
import { either as E, function as F } from 'fp-ts';
import type { Config } from './config.js';
import type { ConfigProblem } from './config-problem.js';
import { CONFIG_FILE_VARIABLE, type Environment } from './environment.js';
import { loadConfig } from './load-config.js';

/** Read where nobody names a file and it exists, so that copying the example is all that there is to do. */
const DEFAULT_FILE = 'config.yaml';

export interface ReadConfig {
  readonly config: Config;
  /** The file that it came from. Absent: defaults and environment only. */
  readonly file?: string;
}

/** Reads the named file, else the one that PULSAR_CONFIG names, else config.yaml where there is one, else none. */
export const readConfig = ({
  file,
  env,
}: {
  readonly file?: string | undefined;
  readonly env: Environment;
}): E.Either<readonly ConfigProblem[], ReadConfig> => {
  const found =
    file ?? (env[CONFIG_FILE_VARIABLE] || undefined) ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined);
  if (found === undefined)
    return F.pipe(
      loadConfig({ env }),
      E.map((config) => ({ config })),
    );
  return F.pipe(
    readText(found),
    E.flatMap((text) => loadConfig({ text, env })),
    E.map((config) => ({ config, file: found })),
  );
};

const readText = (file: string): E.Either<readonly ConfigProblem[], string> =>
  E.tryCatch(
    () => readFileSync(file, 'utf8'),
    (cause) => [
      { path: file, message: `cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})` },
    ],
  );
