/** Delivery: messages of one or many topics to many sockets or polls, over a window of time. */
import { setTimeout as delay } from 'node:timers/promises';
import { CpuMeter } from '../generator/cpu-meter.js';
import { DeliveryCheck } from '../generator/delivery-check.js';
import type { Job, Measurement } from '../generator/job.js';
import { Latencies } from '../generator/latencies.js';
import { lanesPerTopic, Publisher } from '../generator/publisher.js';
import { TopicSet } from '../generator/topic-set.js';
import { until, within } from '../generator/until.js';
import { makePacer, type Pace } from './pace.js';
import { openReceivers, type Receivers, type ReceiversSettings } from './receivers.js';
import { CONNECT_TIMEOUT_MS, DRAIN_TIMEOUT_MS, shown, WARM_UP_MS } from './scenario.js';

export interface DeliveryShape {
  /** Evenly spread over the topics. */
  readonly receivers: number;
  readonly topics: number;
  readonly by?: 'socket' | 'poll';
  /** At-least-once with a client_id, every message acknowledged; otherwise at-most-once. */
  readonly isDurable?: boolean;
  /** Messages in one request. Default 1. */
  readonly batch?: number;
  readonly pace: Pace;
  /** Producers. At a fixed rate there must be more than the rate times the time that an answer takes. */
  readonly lanes?: number;
}

/** A publish may be answered after its deliveries, so there are at least as many lanes as messages under way. */
const LANES_DEFAULT = 64;
/** The service records acknowledgements every 100 ms; what that costs belongs to the window. */
const COMMIT_MS = 300;
/** Whatever was not recorded as acknowledged is delivered again by then. */
const REDELIVERY_MS = 500;
/** Far more than it takes: what has not arrived by then is lost. */
const FIRST_MESSAGE_MS = 5;

export const delivery = async (job: Job, shape: DeliveryShape): Promise<Measurement> => {
  const isDurable = shape.isDurable ?? false;
  const lanes = shape.lanes ?? LANES_DEFAULT;
  const perMessage = shape.receivers / shape.topics;
  const topics = new TopicSet('delivery', shape.topics);
  const check = new DeliveryCheck({
    subscribers: shape.receivers,
    topics: shape.topics,
    lanes: lanesPerTopic(topics, lanes),
  });
  let latencies = new Latencies();
  const settings: ReceiversSettings = {
    count: shape.receivers,
    topics,
    isDurable,
    ...(shape.by === undefined ? {} : { by: shape.by }),
    onDelivery: (receiver, sequence) => check.onDelivery(receiver, sequence),
  };
  let onReceived = (): void => undefined;
  const receivers = await openReceivers(job, {
    ...settings,
    onLatency: (milliseconds) => latencies.add(milliseconds),
    onReceived: () => onReceived(),
  });
  // Only now: with many receivers the service would have ended connections that have done nothing for so long.
  const publisher = await within(
    Publisher.open(job, { topics, lanes, batch: shape.batch ?? 1 }),
    CONNECT_TIMEOUT_MS,
    'connecting',
  );
  const firsts = await (shape.topics === 1
    ? { figures: [], failures: [] }
    : publishFirsts(job, shape, publisher, receivers));
  const pacer = makePacer(shape.pace, publisher, () => receivers.received / perMessage);
  onReceived = () => pacer.pump();
  publisher.onAnswer = () => pacer.pump();
  const meter = new CpuMeter(job);

  pacer.start();
  await delay(WARM_UP_MS);
  const before = receivers.received;
  latencies = new Latencies();
  const begunAt = performance.now();
  meter.start();
  const windowEndsAt = begunAt + job.seconds * 1000;
  await delay(job.seconds * 1000);
  pacer.stop();
  await until(
    () => publisher.isIdle && receivers.received >= publisher.answered * perMessage,
    DRAIN_TIMEOUT_MS,
  );
  const isAnswered = publisher.isIdle;
  const isHeard = !isDurable || (await receivers.areHeard(DRAIN_TIMEOUT_MS));
  // Without acknowledgements the window ends with the last delivery, where that is late; with them, when the last one
  // has been heard.
  const endedAt = isDurable ? performance.now() : Math.max(receivers.receivedAt, windowEndsAt);
  if (isDurable) await delay(COMMIT_MS);
  const cpu = meter.stop();
  const count = receivers.received - before;
  receivers.close();
  publisher.close();

  const failures = [...firsts.failures, ...publisher.failures, ...receivers.failures];
  if (!isAnswered) failures.push('not every request was answered');
  if (!isHeard) failures.push('not every socket has answered a ping');
  if (isDurable) {
    // The same clients come back: a message that is delivered now was acknowledged in vain, and counts as duplicated.
    const again = await openReceivers(job, settings);
    await delay(REDELIVERY_MS);
    failures.push(...again.failures);
    again.close();
  }
  return {
    count,
    elapsedSeconds: (endedAt - begunAt) / 1000,
    cpu,
    latencyMs: latencies.percentiles(),
    ...check.finish((topic, lane) => publisher.answeredOn(topic, lane)),
    failed: failures.length,
    figures: firsts.figures,
    failures: shown(failures),
  };
};

/**
 * A topic is created by its first message, which costs more than those that follow. A service that has been running for
 * a while has its topics, so they get that message before anything is measured, and what it takes is told apart: here
 * each producer waits for its answer before it goes on to the next topic.
 */
const publishFirsts = async (
  job: Job,
  { topics: count, receivers: receiverCount }: DeliveryShape,
  publisher: Publisher,
  receivers: Receivers,
): Promise<Pick<Measurement, 'figures' | 'failures'>> => {
  const pump = (): void => {
    while (publisher.publishFirst(performance.now()));
  };
  const meter = new CpuMeter(job);
  const begunAt = performance.now();
  publisher.onAnswer = pump;
  pump();
  const isAll = await until(
    () => publisher.answered === count && receivers.received >= receiverCount,
    DRAIN_TIMEOUT_MS + count * FIRST_MESSAGE_MS,
  );
  const seconds = (performance.now() - begunAt) / 1000;
  const cpu = meter.stop();
  return {
    figures: [
      { name: 'first message of each topic', value: count / seconds, unit: 'messages/s' },
      { name: 'first message of each topic, proxy', value: (cpu.service / count) * 1e6, unit: 'µs' },
    ],
    failures: isAll ? [] : ['not every topic had its first message delivered'],
  };
};
