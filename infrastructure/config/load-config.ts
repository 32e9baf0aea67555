/**
 * The configuration from its two sources. Promises: every problem is told at once, each with its key; what is right is
 * complete, checked and in the service's own units. Pure: whoever calls it reads the file and the environment.
 */
import { either as E, function as F } from 'fp-ts';
import type { Config } from './config.js';
import { attributed, toProblems, WHOLE_FILE, type ConfigProblem } from './config-problem.js';
import { configSection, type GivenConfig } from './config-sections.js';
import { overlayEnvironment, type Environment } from './environment.js';
import { isMapping } from './section.js';
import { parseYaml } from './yaml-text.js';

export interface ConfigSources {
  /** The text of the configuration file. Absent or empty: every default. */
  readonly text?: string;
  /** The environment, whose `PULSAR_…` variables win over the file. */
  readonly env: Environment;
}

/** Decodes file and environment together, or tells everything that is wrong with them. */
export const loadConfig = ({ text = '', env }: ConfigSources): E.Either<readonly ConfigProblem[], Config> =>
  F.pipe(
    parseYaml(text),
    E.mapLeft((messages) => messages.map((message): ConfigProblem => ({ path: WHOLE_FILE, message }))),
    E.flatMap((file) => decode(file, env)),
  );

/** Not even `auto`, which is 1 on some machines: what is started there must start elsewhere. */
const WORKERS_WITHOUT_VALKEY: ConfigProblem = {
  path: 'server.workers',
  message:
    'must be 1 with the memory driver, because each process would have messages of its own; name a Valkey to have more',
};

const decode = (file: unknown, env: Environment): E.Either<readonly ConfigProblem[], Config> => {
  const { tree, problems, sources } = overlayEnvironment(configSection, file, env);
  const decoded = F.pipe(
    configSection.decode(tree),
    E.mapLeft((errors) => toProblems(errors, sources)),
  );
  if (E.isLeft(decoded)) return E.left([...problems, ...decoded.left]);
  if (problems.length > 0) return E.left(problems);
  const config = toConfig(decoded.right, hasValkey(tree));
  return config.server.workers !== 1 && config.storage.driver === 'memory'
    ? E.left([attributed(WORKERS_WITHOUT_VALKEY, sources)])
    : E.right(config);
};

/** Naming a Valkey is asking for it: a section that is there selects the driver, unless the driver is named too. */
const toConfig = ({ storage, ...rest }: GivenConfig, isValkeyNamed: boolean): Config => ({
  ...rest,
  storage: { ...storage, driver: storage.driver ?? (isValkeyNamed ? 'valkey' : 'memory') },
});

const hasValkey = (tree: unknown): boolean => isMapping(tree) && Object.hasOwn(tree, 'valkey');
