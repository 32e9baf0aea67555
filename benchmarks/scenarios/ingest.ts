/**
 * Ingest: producers that each wait for their answer before they send the next message. Nobody listens meanwhile;
 * afterwards one subscriber reads everything back, and it must be all there, once and in order.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CpuMeter } from '../generator/cpu-meter.js';
import { DeliveryCheck } from '../generator/delivery-check.js';
import type { Job, Measurement } from '../generator/job.js';
import { Latencies } from '../generator/latencies.js';
import { Publisher } from '../generator/publisher.js';
import { until, within } from '../generator/until.js';
import { CONNECT_TIMEOUT_MS, DRAIN_TIMEOUT_MS, freshTopic, shown, WARM_UP_MS } from './scenario.js';
import { openSubscribers } from './subscribers.js';

export interface IngestShape {
  readonly connections: number;
  /** Messages in one request. */
  readonly batch: number;
}

/** Reading back is paged by the service and is not what is measured: it gets time by the number of messages. */
const READ_BACK_MS_PER_MESSAGE = 0.1;

export const ingest = async (job: Job, { connections, batch }: IngestShape): Promise<Measurement> => {
  const topic = freshTopic('ingest');
  const publisher = await within(
    Publisher.open(job, { topic, lanes: connections, batch }),
    CONNECT_TIMEOUT_MS,
    'connecting',
  );
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
  await until(() => publisher.isIdle, DRAIN_TIMEOUT_MS);
  const cpu = meter.stop();
  const count = publisher.answered - before;
  const elapsedSeconds = (answeredAt - begunAt) / 1000;
  publisher.close();

  const check = await readBack(job, topic, connections, publisher.answered);
  const failures = [...publisher.failures, ...check.failures];
  return {
    count,
    elapsedSeconds,
    cpu,
    latencyMs: latencies.percentiles(),
    ...check.deliveries.finish(publisher.answeredByLane),
    failed: failures.length,
    failures: shown(failures),
  };
};

const readBack = async (
  job: Job,
  topic: string,
  lanes: number,
  count: number,
): Promise<{ readonly deliveries: DeliveryCheck; readonly failures: readonly string[] }> => {
  const deliveries = new DeliveryCheck(1, lanes);
  const subscribers = await openSubscribers(job, {
    count: 1,
    subscription: { topics: [topic], delivery: 'at_most_once', from: 'earliest' },
    onDelivery: (subscriber, sequence) => deliveries.onDelivery(subscriber, sequence),
  });
  await until(() => subscribers.received >= count, DRAIN_TIMEOUT_MS + count * READ_BACK_MS_PER_MESSAGE);
  subscribers.close();
  return { deliveries, failures: subscribers.failures };
};
