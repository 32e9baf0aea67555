import type { Errors } from 'io-ts';

/** One thing that is wrong with the configuration. It never contains a value, because values may be secrets. */
export interface ConfigProblem {
  /** The key, `server.http_port`, or the environment variable, or `config` for the file as a whole. */
  readonly path: string;
  /** Completes the sentence that the path begins: `must be a whole number from 0 to 65535`. */
  readonly message: string;
}

/** The path of problems that no key is to blame for. */
export const WHOLE_FILE = 'config';

/** What io-ts found, in our words; `sources` tells which keys an environment variable has set. */
export const toProblems = (errors: Errors, sources: ReadonlyMap<string, string>): readonly ConfigProblem[] =>
  errors.map(({ context, message = 'is not valid' }) =>
    attributed({ path: toPath(context.map(({ key }) => key)), message }, sources),
  );

/** The problem, and with it the variable that has set its key, where one has. */
export const attributed = (
  { path, message }: ConfigProblem,
  sources: ReadonlyMap<string, string>,
): ConfigProblem => {
  const variable = sourceOf(path, sources);
  return { path, message: variable === undefined ? message : `${message} (set by ${variable})` };
};

/** One line for each problem, to be printed. */
export const renderProblems = (problems: readonly ConfigProblem[]): string =>
  problems.map(({ path, message }) => `${path}: ${message}`).join('\n');

/** The first key of a context is its root, which has no name. */
const toPath = ([, ...keys]: readonly string[]): string =>
  keys.length === 0
    ? WHOLE_FILE
    : keys.map((key, i) => (/^\d+$/.test(key) ? `[${key}]` : `${i === 0 ? '' : '.'}${key}`)).join('');

/** The variable that has set the key, or else the nearest one around it. */
const sourceOf = (path: string, sources: ReadonlyMap<string, string>): string | undefined => {
  const around = [...sources.keys()].filter(
    (key) => path === key || path.startsWith(`${key}.`) || path.startsWith(`${key}[`),
  );
  const nearest = around.sort((a, b) => b.length - a.length)[0];
  return nearest === undefined ? undefined : sources.get(nearest);
};
