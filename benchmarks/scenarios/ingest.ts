/**
 * Ingest: producers that each wait for their answer before they send the next message. Nobody listens meanwhile;
 * afterwards one subscriber reads everything back, and it must be all there, once and in order.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CpuMeter } from '../generator/cpu-meter.js';
import { DeliveryCheck } from '../generator/delivery-check.js';
import type { Faults, Job, Measurement } from '../generator/job.js';
import { Latencies } from '../generator/latencies.js';
import { Publisher, type PublisherSettings } from '../generator/publisher.js';
import { TopicSet } from '../generator/topic-set.js';
import { until, within } from '../generator/until.js';
import { openReceivers } from './receivers.js';
import { CONNECT_TIMEOUT_MS, DRAIN_TIMEOUT_MS, shown, WARM_UP_MS } from './scenario.js';

export type IngestShape = Omit<PublisherSettings, 'topics'>;

/** Reading back is paged by the service and is not what is measured: it gets time by the number of messages. */
const READ_BACK_MS_PER_MESSAGE = 0.1;

export const ingest = async (job: Job, shape: IngestShape): Promise<Measurement> => {
  const topics = new TopicSet('ingest', 1);
  const publisher = await within(Publisher.open(job, { ...shape, topics }), CONNECT_TIMEOUT_MS, 'connecting');
  const meter = new CpuMeter(job);
  let isOver = false;
  let latencies = new Latencies();
  let answeredAt = 0;
  const pump = (): void => {
    while (!isOver && publisher.hasFreeLane) publisher.publish(performance.now());
  };
  publisher.onAnswer = (milliseconds, now) => {
    latencies.add(milliseconds);
    answeredAt = now;
    pump();
  };

  pump();
  await delay(WARM_UP_MS);
  const before = publisher.answered;
  latencies = new Latencies();
  const begunAt = performance.now();
  meter.start();
  await delay(job.seconds * 1000);
  isOver = true;
  const isAnswered = await until(() => publisher.isIdle, DRAIN_TIMEOUT_MS);
  const cpu = meter.stop();
  const count = publisher.answered - before;
  const elapsedSeconds = (answeredAt - begunAt) / 1000;
  publisher.close();

  const readBack = await (job.client === 'pulsar' ? readAll(job, topics, publisher) : nothingRead);
  const failures = [...publisher.failures, ...readBack.failures];
  if (!isAnswered) failures.push('not every request was answered');
  return {
    ...readBack,
    count,
    elapsedSeconds,
    cpu,
    latencyMs: latencies.percentiles(),
    failed: failures.length,
    figures: [],
    failures: shown(failures),
  };
};

interface ReadBack extends Omit<Faults, 'failed'> {
  readonly failures: readonly string[];
}

/** The peers keep the last messages at most; nothing is said about what has become of the others. */
const nothingRead: ReadBack = { lost: 0, duplicated: 0, reordered: 0, failures: [] };

const readAll = async (job: Job, topics: TopicSet, publisher: Publisher): Promise<ReadBack> => {
  const count = publisher.answered;
  const check = new DeliveryCheck({ subscribers: 1, topics: 1, lanes: publisher.lanesPerTopic });
  const receivers = await openReceivers(job, {
    count: 1,
    topics,
    from: 'earliest',
    onDelivery: (receiver, sequence) => check.onDelivery(receiver, sequence),
  });
  await until(() => receivers.received >= count, DRAIN_TIMEOUT_MS + count * READ_BACK_MS_PER_MESSAGE);
  receivers.close();
  return {
    ...check.finish((topic, lane) => publisher.answeredOn(topic, lane)),
    failures: receivers.failures,
  };
};
