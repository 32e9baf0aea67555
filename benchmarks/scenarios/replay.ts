/**
 * Replay: one subscriber begins at the beginning of a long topic while others receive live messages of another topic.
 * The cost is per message replayed; the latency is that of the live ones, which must not wait for the past.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CpuMeter } from '../generator/cpu-meter.js';
import { DeliveryCheck } from '../generator/delivery-check.js';
import type { Job, Measurement } from '../generator/job.js';
import { Latencies } from '../generator/latencies.js';
import { Publisher } from '../generator/publisher.js';
import { TopicSet } from '../generator/topic-set.js';
import { until, within } from '../generator/until.js';
import { makePacer } from './pace.js';
import { openReceivers } from './receivers.js';
import { CONNECT_TIMEOUT_MS, DRAIN_TIMEOUT_MS, shown, WARM_UP_MS } from './scenario.js';

const LIVE_SOCKETS = 50;
const LIVE_PER_SECOND = 100;
const LIVE_LANES = 16;
const PAST_LANES = 8;
const PAST_BATCH = 500;
/** Far more than it takes: what has not arrived by then is lost. */
const REPLAY_MS_PER_MESSAGE = 0.2;
const PUBLISH_TIMEOUT_MS = 120_000;

export const replay = async (job: Job): Promise<Measurement> => {
  const past = await publishPast(job);
  const topics = new TopicSet('live', 1);
  const live = await within(
    Publisher.open(job, { topics, lanes: LIVE_LANES, batch: 1 }),
    CONNECT_TIMEOUT_MS,
    'connecting',
  );
  const liveCheck = new DeliveryCheck({ subscribers: LIVE_SOCKETS, topics: 1, lanes: LIVE_LANES });
  let latencies = new Latencies();
  const listeners = await openReceivers(job, {
    count: LIVE_SOCKETS,
    topics,
    onDelivery: (receiver, sequence) => liveCheck.onDelivery(receiver, sequence),
    onLatency: (milliseconds) => latencies.add(milliseconds),
  });
  const pacer = makePacer({ perSecond: LIVE_PER_SECOND }, live, () => 0);
  live.onAnswer = () => pacer.pump();
  pacer.start();
  await delay(WARM_UP_MS);

  const count = past.publisher.answered;
  const pastCheck = new DeliveryCheck({ subscribers: 1, topics: 1, lanes: past.publisher.lanesPerTopic });
  latencies = new Latencies();
  const meter = new CpuMeter(job);
  const begunAt = performance.now();
  const reader = await openReceivers(job, {
    count: 1,
    firstUser: LIVE_SOCKETS,
    topics: past.topics,
    from: 'earliest',
    onDelivery: (receiver, sequence) => pastCheck.onDelivery(receiver, sequence),
  });
  await until(() => reader.received >= count, DRAIN_TIMEOUT_MS + count * REPLAY_MS_PER_MESSAGE);
  const elapsedSeconds = (reader.receivedAt - begunAt) / 1000;
  const cpu = meter.stop();
  pacer.stop();
  await until(() => live.isIdle && listeners.received >= live.answered * LIVE_SOCKETS, DRAIN_TIMEOUT_MS);
  reader.close();
  listeners.close();
  live.close();
  past.publisher.close();

  const failures = [past.publisher, live, reader, listeners].flatMap((part) => part.failures);
  const [ofPast, ofLive] = [
    pastCheck.finish((topic, lane) => past.publisher.answeredOn(topic, lane)),
    liveCheck.finish((topic, lane) => live.answeredOn(topic, lane)),
  ];
  return {
    count: reader.received,
    elapsedSeconds,
    cpu,
    latencyMs: latencies.percentiles(),
    lost: ofPast.lost + ofLive.lost,
    duplicated: ofPast.duplicated + ofLive.duplicated,
    reordered: ofPast.reordered + ofLive.reordered,
    failed: failures.length,
    figures: [{ name: 'published before', value: past.perSecond, unit: 'messages/s' }],
    failures: shown(failures),
  };
};

const publishPast = async (
  job: Job,
): Promise<{ readonly topics: TopicSet; readonly publisher: Publisher; readonly perSecond: number }> => {
  const { replayed } = job.sizes;
  const topics = new TopicSet('past', 1);
  const publisher = await within(
    Publisher.open(job, { topics, lanes: PAST_LANES, batch: Math.min(PAST_BATCH, replayed) }),
    CONNECT_TIMEOUT_MS,
    'connecting',
  );
  const begunAt = performance.now();
  const pump = (): void => {
    while (publisher.hasFreeLane && publisher.sent + publisher.batch <= replayed) {
      publisher.publish(performance.now());
    }
  };
  publisher.onAnswer = pump;
  pump();
  const isPublished = await until(() => publisher.isIdle, PUBLISH_TIMEOUT_MS);
  if (!isPublished)
    throw new Error(`${replayed} messages were not published within ${PUBLISH_TIMEOUT_MS} ms`);
  return {
    topics,
    publisher,
    perSecond: publisher.answered / ((performance.now() - begunAt) / 1000),
  };
};
