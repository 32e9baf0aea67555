/**
 * Where the time went, from a CPU profile of V8: the functions with most time of their own, that is without what they
 * call. Written for whoever looks for the next microsecond.
 */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** By sample: in which node the process was, and how long that took. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    /** From 0. */
    readonly lineNumber: number;
  };
}

export interface SelfTime {
  readonly name: string;
  readonly place: string;
  /** Of the time that the process was not idle. */
  readonly share: number;
  readonly milliseconds: number;
}

/** Waiting is no work. */
const IDLE = '(idle)';

export const selfTimes = ({ nodes, samples, timeDeltas }: CpuProfile, count: number): readonly SelfTime[] => {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const microseconds = new Map<string, { name: string; place: string; total: number }>();
  let busy = 0;
  samples.forEach((id, i) => {
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === IDLE) return;
    const delta = Math.max(0, timeDeltas[i] ?? 0);
    const name = frame.functionName === '' ? '(anonymous)' : frame.functionName;
    const place = frame.url === '' ? 'native' : `${shortUrl(frame.url)}:${frame.lineNumber + 1}`;
    const key = `${name} ${place}`;
    const entry = microseconds.get(key) ?? { name, place, total: 0 };
    entry.total += delta;
    microseconds.set(key, entry);
    busy += delta;
  });
  return [...microseconds.values()]
    .sort((a, b) => b.total - a.total)
    .slice(0, count)
    .map(({ name, place, total }) => ({ name, place, share: total / busy, milliseconds: total / 1000 }));
};

/** The last folders say which file it is. */
const shortUrl = (url: string): string => url.split('/').slice(-3).join('/');
