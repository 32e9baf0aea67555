/**
 * What a Valkey's INFO says about whether it keeps what it is given (DESIGN §5: `appendonly yes`, `noeviction`). Reads
 * only: when to ask, and what to do about the answer, is the connection's.
 */

/** The sections of INFO that `inspect` reads. INFO and not CONFIG GET, which hosted Valkeys forbid. */
export const INSPECTED_SECTIONS = ['memory', 'persistence', 'stats'] as const;

export interface Inspection {
  /** Empty: it keeps what it is given. The texts are the same as long as the problems are. */
  readonly problems: readonly string[];
  /** Undefined where INFO does not tell. */
  readonly logsToDisk: boolean | undefined;
  /** Since Valkey was started. */
  readonly evictedKeys: number;
}

/** `evictedBefore`: of which evictions nobody needs to be told. */
export const inspect = (info: string, evictedBefore: number | undefined): Inspection => {
  const policy = fieldOf(info, 'maxmemory_policy');
  const aof = fieldOf(info, 'aof_enabled');
  const evictedKeys = Number(fieldOf(info, 'evicted_keys') ?? 0);
  const logsToDisk = aof === undefined ? undefined : aof === '1';
  return {
    problems: [
      ...problemsOfPolicy(policy),
      // Under noeviction nothing more is evicted: what was lost is lost, and told as gaps.
      ...(policy !== 'noeviction' && evictedKeys > (evictedBefore ?? evictedKeys) ? [EVICTED] : []),
      ...problemsOfLog(logsToDisk),
    ],
    logsToDisk,
    evictedKeys,
  };
};

const EVICTED = 'valkey: has evicted keys: topics or subscriptions are lost';

const problemsOfPolicy = (policy: string | undefined): readonly string[] => {
  if (policy === 'noeviction') return [];
  if (policy === undefined) return ['valkey: maxmemory-policy cannot be checked: INFO does not tell it'];
  return [`valkey: maxmemory-policy is ${policy}, must be noeviction: it would evict whole topics`];
};

const problemsOfLog = (logsToDisk: boolean | undefined): readonly string[] => {
  if (logsToDisk === true) return [];
  if (logsToDisk === undefined) return ['valkey: appendonly cannot be checked: INFO does not tell it'];
  return ['valkey: appendonly is off: a restart of Valkey would lose every message'];
};

const fieldOf = (info: string, field: string): string | undefined =>
  new RegExp(`^${field}:(\\S+)`, 'm').exec(info)?.[1];
