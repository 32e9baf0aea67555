/**
 * `node --expose-gc dist/benchmarks/followed-topics.js`: what it costs to follow many topics, without sockets, HTTP and
 * sessions: the memory of an idle topic, the CPU time of a message from Valkey to the listener, and that of silence.
 * Each case is a process of its own that follows the topics through the adapters that the service has, over a private
 * Valkey; this process publishes to them.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { either as E } from 'fp-ts';
import { LiveTopics, type TopicListener } from '../application/live-topics.js';
import { topicStream, type RetentionSettings } from '../application/ports/event-store.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { JsonLogger } from '../infrastructure/observability/json-logger.js';
import { PrometheusMetrics } from '../infrastructure/observability/prometheus-metrics.js';
import { SystemClock } from '../infrastructure/system/system-clock.js';
import { TieredEventStore } from '../infrastructure/tiered/tiered-event-store.js';
import { keyNames } from '../infrastructure/valkey/keys.js';
import { LostMessages } from '../infrastructure/valkey/lost-messages.js';
import { ValkeyConnection } from '../infrastructure/valkey/valkey-connection.js';
import { ValkeyEventFeed } from '../infrastructure/valkey/valkey-event-feed.js';
import { ValkeyEventStore } from '../infrastructure/valkey/valkey-event-store.js';
import { describeMachine } from './report/machine.js';
import { startValkey } from './servers/valkey.js';

interface Case {
  readonly port: number;
  readonly topics: number;
}

/** What the process that follows says when it is asked. */
interface Told {
  /** Heap and buffers that a topic takes, and resident memory. */
  readonly heapBytesPerTopic: number;
  readonly rssBytesPerTopic: number;
  /** User and system, of the process up to now. */
  readonly cpuMicros: number;
  readonly messages: number;
}

interface Figures extends Pick<Told, 'heapBytesPerTopic' | 'rssBytesPerTopic'> {
  readonly microsPerMessage: number;
  readonly messagesPerSecond: number;
  /** Share of a core. */
  readonly silence: number;
}

const TOPICS = [1_000, 10_000, 100_000];
const PAYLOAD = JSON.stringify({ text: 'x'.repeat(189) });
/** Appends under way at any time. */
const UNDER_WAY = 64;
/** Topics that are joined at once, as by clients that come in one after the other. */
const JOINED_AT_ONCE = 500;
const WARM_UP_MS = 1_500;
const WINDOW_MS = 4_000;
/** Two position checks. */
const SILENCE_MS = 10_000;
const RETENTION: RetentionSettings = {
  messagesMs: 3_600_000,
  messagesPerTopicMax: 10_000,
  subscriptionMs: 3_600_000,
};

const main = async (): Promise<void> => {
  const [chosen] = process.argv.slice(2);
  if (chosen !== undefined) {
    await follow(JSON.parse(chosen) as Case);
    return;
  }
  const { cpu, node } = describeMachine();
  console.log(`200-byte payloads; ${cpu}, Node ${node}, ${new Date().toISOString().slice(0, 10)}\n`);
  console.log(
    '| topics followed | heap bytes per topic | resident bytes per topic | µs per message | messages/s | silence, share of a core |',
  );
  console.log('| --: | --: | --: | --: | --: | --: |');
  for (const topics of TOPICS) console.log(toRow(topics, await measure(topics)));
  process.exit();
};

const measure = async (topics: number): Promise<Figures> => {
  const folder = mkdtempSync(join(tmpdir(), 'pulsar-bench-'));
  const valkey = await startValkey(folder, undefined);
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify({ port: valkey.port, topics })], {
    execArgv: ['--expose-gc', '--max-old-space-size=4096'],
  });
  try {
    const idle = await tellsNext(child);
    await delay(SILENCE_MS);
    const afterSilence = await ask(child);
    const { store, close } = await open(valkey.port);
    const publishing = publish(store, topics, WARM_UP_MS + WINDOW_MS + 500);
    await delay(WARM_UP_MS);
    const before = await ask(child);
    await delay(WINDOW_MS);
    const after = await ask(child);
    await publishing;
    close();
    const messages = after.messages - before.messages;
    return {
      heapBytesPerTopic: idle.heapBytesPerTopic,
      rssBytesPerTopic: idle.rssBytesPerTopic,
      microsPerMessage: (after.cpuMicros - before.cpuMicros) / messages,
      messagesPerSecond: (messages * 1000) / WINDOW_MS,
      silence: (afterSilence.cpuMicros - idle.cpuMicros) / (SILENCE_MS * 1000),
    };
  } finally {
    child.kill();
    await valkey.stop();
    rmSync(folder, { recursive: true });
  }
};

const ask = (child: ChildProcess): Promise<Told> => {
  child.send('how much');
  return tellsNext(child);
};

const tellsNext = async (child: ChildProcess): Promise<Told> => {
  const [told] = (await once(child, 'message')) as [Told];
  return told;
};

const open = async (port: number) => {
  const settings = {
    host: '127.0.0.1',
    port,
    username: '',
    password: '',
    db: 0,
    keyPrefix: 'bench',
    allowUnsafe: true,
    commandTimeoutMs: 10_000,
  };
  const logger = new JsonLogger('error');
  const connection = new ValkeyConnection(settings, logger);
  const names = keyNames(settings);
  const lost = new LostMessages(connection, names, RETENTION, logger);
  const store = new ValkeyEventStore(connection, names, RETENTION, lost, logger);
  await connection.ready();
  const close = (): void => {
    lost.dispose();
    connection.close();
  };
  return { connection, names, lost, store, logger, close };
};

/** Evenly to all topics, in an order in which neighbours are far apart. */
const publish = async (store: ValkeyEventStore, topics: number, forMs: number): Promise<void> => {
  const until = performance.now() + forMs;
  let sent = 0;
  const producer = async (): Promise<void> => {
    while (performance.now() < until) {
      const topic = topicOf((sent++ * 7_919) % topics);
      const appended = await store.append(topicStream(topic), [
        { type: 'MessagePublished', payload: PAYLOAD },
      ])();
      if (E.isLeft(appended)) throw new Error(JSON.stringify(appended.left));
    }
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, producer));
};

const topicOf = (i: number): TopicName => `users.${i}.notifications` as TopicName;

/** The process that is measured. Tells once when it follows everything, and then whenever it is asked. */
const follow = async ({ port, topics }: Case): Promise<void> => {
  const { connection, names, lost, store, logger } = await open(port);
  const clock = new SystemClock();
  const feed = new ValkeyEventFeed(connection, store, names, lost, logger);
  const tiered = new TieredEventStore(store, feed, clock, {
    retentionMs: 600_000,
    bytesMax: 256 * 1024 * 1024,
  });
  const live = new LiveTopics(tiered, clock, new PrometheusMetrics());
  let messages = 0;
  const listener: TopicListener = {
    onBatch: (batch) => {
      messages += batch.messages.length;
      return batch.messages.length;
    },
    onLost: () => {
      throw new Error('nothing is lost here');
    },
    lag: () => 0,
  };
  // The code is compiled and the connections have their buffers: what is held from here on is for the topics.
  await live.join(topicOf(topics), listener).joined;
  const before = held();
  const memberships = [];
  for (let i = 0; i < topics; i += JOINED_AT_ONCE) {
    const joined = Array.from({ length: Math.min(JOINED_AT_ONCE, topics - i) }, (_, k) =>
      live.join(topicOf(i + k), listener),
    );
    for (const each of await Promise.all(joined.map((membership) => membership.joined))) {
      if (E.isLeft(each)) throw new Error(JSON.stringify(each.left));
    }
    memberships.push(...joined);
  }
  await delay(1_000);
  const now = held();
  // What holds the memberships in the service is a session's own, and counted there.
  const tell = (): void => {
    const { user, system } = process.cpuUsage();
    process.send?.({
      heapBytesPerTopic: (now.bytes - before.bytes) / topics,
      rssBytesPerTopic: (now.rss - before.rss) / topics,
      cpuMicros: user + system,
      messages,
    } satisfies Told);
  };
  process.on('message', tell);
  process.once('disconnect', () => process.exit());
  tell();
};

const held = (): { readonly bytes: number; readonly rss: number } => {
  global.gc?.();
  global.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { bytes: heapUsed + external, rss };
};

const toRow = (topics: number, figures: Figures): string =>
  `| ${[
    topics,
    figures.heapBytesPerTopic.toFixed(0),
    figures.rssBytesPerTopic.toFixed(0),
    figures.microsPerMessage.toFixed(1),
    figures.messagesPerSecond.toFixed(0),
    `${(figures.silence * 100).toFixed(1)} %`,
  ].join(' | ')} |`;

await main();
