/**
 * Every key of the configuration file as an environment variable: `PULSAR_` and the path in upper case, joined by `_`.
 * Variables win over the file. Text is taken as it is; everything else is YAML, which JSON is a part of. An empty
 * variable that is not text sets its key back to the default.
 */
import { either as E } from 'fp-ts';
import type { ConfigProblem } from './config-problem.js';
import { didYouMean } from './did-you-mean.js';
import { isMapping, pathsOf, type Section, type Setting } from './section.js';
import { parseYaml } from './yaml-text.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface EnvironmentVariable {
  readonly name: string;
  readonly path: readonly string[];
  readonly kind: Setting['kind'];
}

/** Names the file itself, so it is no key of the file. */
export const CONFIG_FILE_VARIABLE = 'PULSAR_CONFIG';

const PREFIX = 'PULSAR_';

/** The variables for all keys below `root`; outer keys first, so that an inner one can correct an outer one. */
export const environmentVariables = (root: Section): readonly EnvironmentVariable[] =>
  pathsOf(root)
    .map(({ path, setting }) => ({
      name: `${PREFIX}${path.join('_').toUpperCase()}`,
      path,
      kind: setting.kind,
    }))
    .sort((a, b) => a.path.length - b.path.length);

export interface Overlaid {
  readonly tree: unknown;
  readonly problems: readonly ConfigProblem[];
  /** Which keys came from which variable, by their path joined with dots. */
  readonly sources: ReadonlyMap<string, string>;
}

/** Puts what the environment says over what the file says. */
export const overlayEnvironment = (root: Section, file: unknown, env: Environment): Overlaid => {
  const known = environmentVariables(root);
  const problems = [...unknownVariables(env, known)];
  const sources = new Map<string, string>();
  let tree = file;
  for (const { name, path, kind } of known) {
    const value = env[name];
    if (value === undefined || isServiceLink(name, env)) continue;
    const parsed = kind === 'text' ? E.right(value) : parseYaml(value);
    sources.set(path.join('.'), name);
    if (E.isLeft(parsed)) problems.push(...parsed.left.map((message) => ({ path: name, message })));
    else tree = withValue(tree, path, parsed.right);
  }
  return { tree, problems, sources };
};

/** A copy of `tree` with `value` at `path`. What stands in the way of the path is left for the decoder to refuse. */
const withValue = (tree: unknown, [key, ...rest]: readonly string[], value: unknown): unknown => {
  if (key === undefined) return value;
  const parent = tree ?? {};
  return isMapping(parent) ? { ...parent, [key]: withValue(parent[key], rest, value) } : tree;
};

const unknownVariables = (env: Environment, known: readonly EnvironmentVariable[]): ConfigProblem[] => {
  const names = known.map(({ name }) => name);
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && env[name] !== undefined)
    .filter((name) => name !== CONFIG_FILE_VARIABLE && !names.includes(name) && !isServiceLink(name, env))
    .map((path) => ({ path, message: `is not a known variable${didYouMean(path, names)}` }));
};

/**
 * Kubernetes puts variables for every service of the namespace into every container. For a service named pulsar-valkey
 * they are PULSAR_VALKEY_SERVICE_HOST, PULSAR_VALKEY_PORT=tcp://… and so on: neither unknown keys nor ours.
 */
const isServiceLink = (name: string, env: Environment): boolean => {
  const service = SERVICE_LINK.exec(name)?.[1];
  if (service === undefined || env[`${service}_SERVICE_HOST`] === undefined) return false;
  return name !== `${service}_PORT` || /^[a-z]+:\/\//.test(env[name] ?? '');
};

const SERVICE_LINK =
  /^(.+?)_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;
