/**
 * Histories in which every promise was kept, for the checker's own test: producers are answered one way or another, a
 * socket reconnects, a poller goes from proxy to proxy, some acknowledgements are late, and once the storage loses a
 * message and says so.
 */
import {
  isMatched,
  type Connection,
  type History,
  type Publish,
  type StoredMessage,
  type SubscriptionEvent,
  type SubscriptionHistory,
} from './history.js';
import type { Random } from '../support/random.js';

/** A history that can still be changed. */
export interface Draft extends History {
  readonly publishes: Publish[];
  readonly subscriptions: DraftSubscription[];
  stored: StoredMessage[];
  readonly forgotten: { fromMs: number; toMs: number }[];
}

export interface DraftSubscription extends SubscriptionHistory {
  readonly connections: Connection[];
  events: SubscriptionEvent[];
}

const TOPICS = ['orders', 'news.eu', 'news.us'] as const;
const PUBLISHES = 120;
const STEP_MS = 100;
const WITHIN_MS = 5_000;

export const aGoodHistory = (random: Random): Draft => {
  const publishes = Array.from({ length: PUBLISHES }, (_, i) => aPublish(random, i));
  const inStream = publishes.filter(
    ({ outcome }, i) =>
      outcome === 'stored' || (outcome === 'unknown' && random.chance(0.5)) || i === PUBLISHES - 1,
  );
  // In the middle the storage loses one that it had answered, and nobody has got it.
  const loss = inStream.find(({ outcome }, i) => outcome === 'stored' && i > inStream.length / 2)!;
  const stored = inStream
    .filter((publish) => publish !== loss)
    .map(({ topic, payload, startedMs }) => ({ messageId: idAt(topic, startedMs), payload }));
  const last = publishes.at(-1)!;
  return {
    publishes,
    stored,
    forgotten: [{ fromMs: loss.startedMs, toMs: loss.answeredMs }],
    probes: [{ topic: last.topic, payload: last.payload, healedMs: last.startedMs, withinMs: WITHIN_MS }],
    subscriptions: [
      aSubscriber(
        random,
        { clientId: 'phone', topics: ['orders', 'news.>'], from: 'earliest' },
        inStream,
        loss,
      ),
      aSubscriber(random, { clientId: 'tablet', topics: ['news.*'], from: 'latest' }, inStream, loss),
      aPoller(random, { clientId: 'poller', topics: ['>'], from: 'latest' }, inStream, loss),
      aSubscriber(
        random,
        { clientId: 'dashboard', topics: ['>'], from: 'latest', guarantee: 'at_most_once' },
        inStream,
        loss,
      ),
    ],
  };
};

const idAt = (topic: string, startedMs: number): string => `${topic}:${startedMs + 1}-0`;

const aPublish = (random: Random, i: number): Publish => {
  const topic = i === PUBLISHES - 1 ? 'news.eu' : random.pick(TOPICS);
  const startedMs = (i + 1) * STEP_MS;
  const keyed = random.chance(0.5);
  const about = { topic, payload: `{"value":${i}}`, keyed, startedMs, answeredMs: startedMs + 2 };
  // The last one is the probe, and the first ones make sure that there is one of each kind.
  if (i === PUBLISHES - 1 || i === 0)
    return { ...about, outcome: 'stored', messageId: idAt(topic, startedMs) };
  if (i === 1 || random.chance(0.1)) return { ...about, outcome: 'unknown' };
  if (i === 2 || random.chance(0.1)) return { ...about, outcome: 'not_stored' };
  return { ...about, outcome: 'stored', messageId: idAt(topic, startedMs) };
};

type About = Pick<SubscriptionHistory, 'clientId' | 'topics' | 'from'> & Partial<SubscriptionHistory>;

/** The gap in which the lost message lies; nothing else does, as no two are published at the same millisecond. */
const gapOver = (
  loss: Publish,
): Omit<Extract<SubscriptionEvent, { type: 'GapTold' }>, 'connection' | 'atMs'> => ({
  type: 'GapTold',
  topic: loss.topic,
  from: `${loss.startedMs}-0`,
  to: `${loss.startedMs + 1}-0`,
  reason: 'storage_rollback',
});

const aSubscriber = (
  random: Random,
  about: About,
  inStream: readonly Publish[],
  loss: Publish,
): DraftSubscription => {
  const guarantee = about.guarantee ?? 'at_least_once';
  const connections: Connection[] = [{ via: 'socket', at: 'A', beganMs: 1 }];
  const events: SubscriptionEvent[] = [{ type: 'Opened', recovered: false, connection: 0, atMs: 2 }];
  const due: { readonly messageId: string; readonly payload: string }[] = [];
  const settle = (messageId: string, atMs: number): void => {
    const connection = connections.length - 1;
    events.push({ type: 'AckSent', messageIds: [messageId], connection, atMs });
    events.push({ type: 'AckConfirmed', messageIds: [messageId], connection, atMs: atMs + 1 });
  };
  const mine = inStream.filter(({ topic }) => isMatched(about.topics, topic));
  mine.forEach((publish, i) => {
    const { topic, payload, startedMs } = publish;
    const isEarly = i < mine.length / 2;
    if (isEarly && i > 0 && random.chance(0.1)) {
      connections.push({ via: 'socket', at: random.pick(['A', 'B']), beganMs: startedMs - 10 });
      const opened = { connection: connections.length - 1, atMs: startedMs - 9 };
      events.push({ type: 'Opened', recovered: true, ...opened });
    }
    const connection = connections.length - 1;
    const atMs = startedMs + 5;
    if (publish === loss) {
      events.push({ ...gapOver(loss), connection, atMs });
      return;
    }
    const messageId = idAt(topic, startedMs);
    events.push({ type: 'Delivered', messageId, payload, attempt: 1, connection, atMs });
    if (guarantee === 'at_most_once') return;
    // What is not acknowledged at once comes again, later than its neighbours.
    if (isEarly && (i === 0 || random.chance(0.2))) due.push({ messageId, payload });
    else settle(messageId, atMs + 1);
  });
  due.forEach(({ messageId, payload }, i) => {
    const atMs = (PUBLISHES + 10 + i) * STEP_MS;
    const connection = connections.length - 1;
    events.push({ type: 'Delivered', messageId, payload, attempt: 2, connection, atMs });
    settle(messageId, atMs + 1);
  });
  return { ...about, guarantee, connections, events };
};

const aPoller = (
  random: Random,
  about: About,
  inStream: readonly Publish[],
  loss: Publish,
): DraftSubscription => {
  const connections: Connection[] = [{ via: 'poll', at: 'A', beganMs: 1 }];
  const events: SubscriptionEvent[] = [{ type: 'Opened', recovered: false, connection: 0, atMs: 2 }];
  const answer = (messageId: string, payload: string, attempt: number, atMs: number): void => {
    const connection = connections.push({ via: 'poll', at: random.pick(['A', 'B']), beganMs: atMs - 1 }) - 1;
    events.push({ type: 'Delivered', messageId, payload, attempt, connection, atMs });
    if (attempt === 1 && messageId === first) return;
    events.push({ type: 'AckSent', messageIds: [messageId], connection, atMs: atMs + 1 });
    events.push({ type: 'AckConfirmed', messageIds: [messageId], connection, atMs: atMs + 2 });
  };
  const first = idAt(inStream[0]!.topic, inStream[0]!.startedMs);
  for (const publish of inStream) {
    const { topic, payload, startedMs } = publish;
    if (publish === loss) {
      const connection = connections.push({ via: 'poll', at: 'B', beganMs: startedMs + 1 }) - 1;
      events.push({ ...gapOver(loss), connection, atMs: startedMs + 5 });
    } else answer(idAt(topic, startedMs), payload, 1, startedMs + 5);
  }
  answer(first, inStream[0]!.payload, 2, (PUBLISHES + 10) * STEP_MS);
  return { guarantee: 'at_least_once', ...about, connections, events };
};
