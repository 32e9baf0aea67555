/**
 * `node --expose-gc dist/benchmarks/hot-tier.js`: what a message costs in the hot tier, in memory, in time to push and to
 * read it, and in garbage collection, beside the plain layout of objects. Each case runs in a process of its own, so
 * that none inherits the heap of another.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Cursor, Offset, Recorded } from '../domain/message/offset.js';
import { BEGINNING, offsetAt } from '../domain/message/offset.js';
import type { TopicEvent } from '../domain/topic/topic-events.js';
import { HotTier } from '../infrastructure/tiered/hot-tier.js';
import { ObjectHotTier } from '../tests/infrastructure/tiered/object-hot-tier.js';
import { describeMachine } from './report/machine.js';

interface Case {
  readonly layout: 'slab' | 'objects';
  readonly messages: number;
  readonly topics: number;
  /** Of two bytes a character in UTF-8, so that the payload is not ASCII. */
  readonly isCyrillic?: boolean;
}

interface Figures {
  readonly bytesPerMessage: number;
  readonly bytesPerTopic: number;
  readonly countedBytes: number;
  readonly rssBytes: number;
  readonly pushNs: number;
  readonly coldReadNs: number;
  readonly warmReadNs: number;
  readonly fullGcMs: number;
  readonly longestFullGcMs: number;
}

const PAYLOAD_BYTES = 200;
const NOW = 1_750_000_000_000;
const SETTINGS = { retentionMs: 600_000, bytesMax: 1024 * 1024 * 1024 };
/** As many as the feed tells in one go when it is busy. */
const BATCH = 8;
/** Pushing is timed in blocks of about this many messages, in CPU time, and the median block counts. */
const BLOCK = 4_000;
const PAGE = 100;
const FULL_GCS = 9;
const CLIENTS = 10_000;
/** With fewer, what else comes and goes in the heap is more than they take. */
const TOPICS_MEASURABLE = 10_000;

const CASES: readonly Case[] = (['objects', 'slab'] as const).flatMap((layout) => [
  { layout, messages: 600_000, topics: 1 },
  { layout, messages: 600_000, topics: 12_000 },
  { layout, messages: 600_000, topics: 100_000 },
  { layout, messages: 600_000, topics: 1_000, isCyrillic: true },
  { layout, messages: 100_000, topics: 100_000 },
  { layout, messages: 0, topics: 100_000 },
]);

const main = (): void => {
  const [chosen] = process.argv.slice(2);
  if (chosen !== undefined) {
    process.stdout.write(JSON.stringify(measure(JSON.parse(chosen) as Case)));
    return;
  }
  const { cpu, node } = describeMachine();
  console.log(
    `${PAYLOAD_BYTES}-byte payloads; ${cpu}, Node ${node}, ${new Date().toISOString().slice(0, 10)}\n`,
  );
  console.log(
    '| layout | topics | messages | bytes per message | bytes per topic | counted MB | RSS MB | push ns | read ns, cold | warm | full GC ms | longest |',
  );
  console.log('| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |');
  for (const each of CASES) console.log(toRow(each, inProcess(each)));
};

const inProcess = (each: Case): Figures => {
  const script = fileURLToPath(import.meta.url);
  const child = spawnSync(
    process.execPath,
    ['--expose-gc', '--max-old-space-size=4096', script, JSON.stringify(each)],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  if (child.status !== 0)
    throw new Error(`${JSON.stringify(each)} ended with ${child.status ?? child.signal}`);
  return JSON.parse(child.stdout) as Figures;
};

const measure = ({ layout, messages, topics, isCyrillic = false }: Case): Figures => {
  const keys = Array.from({ length: topics }, (_, i) => `topic:orders.${i}`);
  const before = held();
  const target = layout === 'slab' ? slabTarget() : objectTarget();
  for (const key of keys) target.open(key, BEGINNING);
  const opened = held();
  const pushNs = pushAll(target, keys, messages, isCyrillic);
  const filled = held();
  const countedBytes = target.counted();
  const fullGcs = Array.from({ length: FULL_GCS }, fullGc);
  const coldReadNs = readAll(target, keys, messages);
  const warmReadNs = readAgain(target, keys[0]!, messages);
  return {
    bytesPerMessage: (filled.bytes - opened.bytes) / Math.max(1, messages),
    bytesPerTopic: (opened.bytes - before.bytes) / topics,
    countedBytes,
    rssBytes: filled.rss - before.rss,
    pushNs,
    coldReadNs,
    warmReadNs,
    fullGcMs: median(fullGcs),
    longestFullGcMs: Math.max(...fullGcs),
  };
};

/** Answers the nanoseconds per message. */
const pushAll = (target: Target, keys: readonly string[], messages: number, isCyrillic: boolean): number => {
  const ends = new Uint32Array(keys.length);
  const batch = Math.min(BATCH, Math.max(1, Math.floor(messages / keys.length)));
  const blocks: number[] = [];
  for (let sent = 0; sent < messages;) {
    const block: (readonly [string, readonly Recorded<TopicEvent>[]])[] = [];
    const from = sent;
    for (const until = Math.min(sent + BLOCK, messages); sent < until; sent += batch) {
      const topic = (sent / batch) % keys.length;
      block.push([
        keys[topic]!,
        nextMessages(ends[topic]!, Math.min(batch, messages - sent), sent, isCyrillic),
      ]);
      ends[topic]! += batch;
    }
    const { user } = process.cpuUsage();
    for (const [key, events] of block) target.push(key, events, NOW);
    blocks.push(((process.cpuUsage().user - user) * 1e3) / (sent - from));
  }
  return median(blocks);
};

const median = (values: readonly number[]): number =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;

interface Target {
  open(key: string, start: Cursor): void;
  push(key: string, events: readonly Recorded<TopicEvent>[], now: number): void;
  read(key: string, after: Offset, limit: number): readonly Recorded<TopicEvent>[] | undefined;
  counted(): number;
}

const slabTarget = (): Target => {
  const tier = new HotTier(SETTINGS);
  return {
    open: (key, start) => tier.open(key, start),
    push: (key, events, now) => tier.push(key, events, now),
    read: (key, after, limit) => tier.window(key)?.after(after, limit),
    counted: () => tier.bytes,
  };
};

const objectTarget = (): Target => {
  const tier = new ObjectHotTier(SETTINGS);
  return {
    open: (key, start) => tier.open(key, start),
    push: (key, events, now) => tier.push(key, events, now),
    read: (key, after, limit) => tier.window(key)?.log.after(after, limit) as readonly Recorded<TopicEvent>[],
    counted: () => tier.bytes,
  };
};

/** Their payloads are cut out of a longer text, as the feed does it. */
const nextMessages = (
  newest: number,
  count: number,
  sent: number,
  isCyrillic: boolean,
): readonly Recorded<TopicEvent>[] =>
  Array.from({ length: count }, (_, i) => {
    const payload = `{"order":${sent + i},"text":"`.padEnd(PAYLOAD_BYTES - 2, isCyrillic ? 'я' : 'x');
    const text = Buffer.from(`${sent} ${payload}"}`).toString();
    const event: TopicEvent = { type: 'MessagePublished', payload: text.slice(String(sent).length + 1) };
    const n = newest + 1 + i;
    return { offset: (offsetAt(NOW) + n) as Offset, n, event };
  });

/** Pages through every topic; in ns per message. */
const readAll = (target: Target, keys: readonly string[], messages: number): number => {
  const startedAt = performance.now();
  let read = 0;
  for (const key of keys) {
    for (let after = BEGINNING.offset; ;) {
      const page = target.read(key, after, PAGE) ?? [];
      const last = page[page.length - 1];
      if (last === undefined) break;
      read += page.length;
      after = last.offset;
    }
  }
  if (read !== messages) throw new Error(`${read} of ${messages} messages were there`);
  return ((performance.now() - startedAt) * 1e6) / Math.max(1, messages);
};

/** Many clients that want the same page. */
const readAgain = (target: Target, key: string, messages: number): number => {
  if (messages === 0) return 0;
  const startedAt = performance.now();
  let read = 0;
  for (let client = 0; client < CLIENTS; client++)
    read += target.read(key, BEGINNING.offset, PAGE)?.length ?? 0;
  return ((performance.now() - startedAt) * 1e6) / read;
};

const fullGc = (): number => {
  const startedAt = performance.now();
  collect();
  return performance.now() - startedAt;
};

const held = (): { readonly bytes: number; readonly rss: number } => {
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { bytes: heapUsed + external, rss };
};

const collect = (): void => {
  if (global.gc === undefined) throw new Error('run it with node --expose-gc');
  global.gc();
};

const toRow = (each: Case, figures: Figures): string => {
  const { bytesPerMessage, bytesPerTopic, countedBytes, rssBytes, pushNs } = figures;
  const { coldReadNs, warmReadNs, fullGcMs, longestFullGcMs } = figures;
  const toMegabytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0);
  return `| ${[
    each.isCyrillic === true ? `${each.layout}, Cyrillic` : each.layout,
    each.topics,
    each.messages,
    each.messages === 0 ? '' : bytesPerMessage.toFixed(0),
    each.topics < TOPICS_MEASURABLE ? '' : bytesPerTopic.toFixed(0),
    toMegabytes(countedBytes),
    toMegabytes(rssBytes),
    ...[pushNs, coldReadNs, warmReadNs].map((ns) => (each.messages === 0 ? '' : ns.toFixed(0))),
    fullGcMs.toFixed(1),
    longestFullGcMs.toFixed(1),
  ].join(' | ')} |`;
};

main();
