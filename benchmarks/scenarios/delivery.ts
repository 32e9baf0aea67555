/**
 * Delivery: one topic to many sockets. At a fixed rate it shows latency; in a closed loop, where the next message is
 * published when the ones before have arrived everywhere, it shows what one core can do without queues that hide it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CpuMeter } from '../generator/cpu-meter.js';
import { DeliveryCheck } from '../generator/delivery-check.js';
import type { Job, Measurement } from '../generator/job.js';
import { Latencies } from '../generator/latencies.js';
import { Publisher } from '../generator/publisher.js';
import { until, within } from '../generator/until.js';
import { CONNECT_TIMEOUT_MS, DRAIN_TIMEOUT_MS, freshTopic, shown, WARM_UP_MS } from './scenario.js';
import { openSubscribers, type Subscribers } from './subscribers.js';

export interface DeliveryShape {
  readonly subscribers: number;
  /** At-least-once with a client_id, every message acknowledged; otherwise at-most-once for as long as connected. */
  readonly isDurable: boolean;
  /** Messages in one request. */
  readonly batch: number;
  readonly pace: Pace;
}

export type Pace =
  /** As many messages under way as this, and never more. */
  | { readonly underWay: number }
  /** Messages per second, whatever happens to the ones before. */
  | { readonly perSecond: number };

/** A publish may be answered after its deliveries, so there are more lanes than messages under way. */
const LANES = 16;
/** The service records acknowledgements every 100 ms; what that costs belongs to the window. */
const COMMIT_MS = 300;
/** Whatever was not recorded as acknowledged is delivered again by then. */
const REDELIVERY_MS = 500;

export const delivery = async (job: Job, shape: DeliveryShape): Promise<Measurement> => {
  const { batch, isDurable } = shape;
  const topic = freshTopic('delivery');
  const check = new DeliveryCheck(shape.subscribers, LANES);
  const publisher = await within(
    Publisher.open(job, { topic, lanes: LANES, batch }),
    CONNECT_TIMEOUT_MS,
    'connecting',
  );
  let latencies = new Latencies();
  let onReceived = (): void => undefined;
  const subscriberSettings = {
    count: shape.subscribers,
    subscription: { topics: [topic], delivery: isDurable ? 'at_least_once' : 'at_most_once' },
    isDurable,
    onDelivery: (subscriber: number, sequence: number) => check.onDelivery(subscriber, sequence),
  };
  const subscribers = await openSubscribers(job, {
    ...subscriberSettings,
    onLatency: (milliseconds) => latencies.add(milliseconds),
    onReceived: () => onReceived(),
  });
  const pacer =
    'perSecond' in shape.pace
      ? fixedRate(publisher, shape.pace.perSecond)
      : closedLoop(publisher, subscribers, shape.subscribers, batch, shape.pace.underWay);
  onReceived = () => pacer.onReceived();
  publisher.onAnswer = () => pacer.onReceived();
  const meter = new CpuMeter(job);

  pacer.start();
  await delay(WARM_UP_MS);
  const before = subscribers.received;
  latencies = new Latencies();
  const begunAt = performance.now();
  meter.start();
  await delay(job.seconds * 1000);
  pacer.stop();
  await until(
    () => publisher.isIdle && subscribers.received >= publisher.answered * shape.subscribers,
    DRAIN_TIMEOUT_MS,
  );
  const isHeard = !isDurable || (await subscribers.areHeard(DRAIN_TIMEOUT_MS));
  // Without acknowledgements the window ends with the last delivery; with them, when the last one has been heard.
  const endedAt = isDurable ? performance.now() : subscribers.receivedAt;
  if (isDurable) await delay(COMMIT_MS);
  const cpu = meter.stop();
  const count = subscribers.received - before;
  subscribers.close();
  publisher.close();

  const failures = [...publisher.failures, ...subscribers.failures, ...pacer.failures];
  if (!isHeard) failures.push('not every socket has answered a ping');
  if (isDurable) {
    // The same clients come back: a message that is delivered now was acknowledged in vain, and counts as duplicated.
    const again = await openSubscribers(job, subscriberSettings);
    await delay(REDELIVERY_MS);
    failures.push(...again.failures);
    again.close();
  }
  return {
    count,
    elapsedSeconds: (endedAt - begunAt) / 1000,
    cpu,
    latencyMs: latencies.percentiles(),
    ...check.finish(publisher.answeredByLane),
    failed: failures.length,
    failures: shown(failures),
  };
};

interface Pacer {
  readonly failures: readonly string[];
  start(): void;
  stop(): void;
  /** Something has arrived or was answered: there may be room for more. */
  onReceived(): void;
}

const closedLoop = (
  publisher: Publisher,
  subscribers: Subscribers,
  subscriberCount: number,
  batch: number,
  underWay: number,
): Pacer => {
  let isOn = false;
  const pump = (): void => {
    while (
      isOn &&
      publisher.hasFreeLane &&
      (publisher.sent + batch - underWay) * subscriberCount <= subscribers.received
    ) {
      publisher.publish(performance.now());
    }
  };
  return {
    failures: [],
    start: () => {
      isOn = true;
      pump();
    },
    stop: () => (isOn = false),
    onReceived: pump,
  };
};

/**
 * Messages are stamped with the time at which they were due, not with the one at which they were sent: a service that
 * makes the generator late must not look faster for it ("coordinated omission").
 */
const fixedRate = (publisher: Publisher, perSecond: number): Pacer => {
  const failures: string[] = [];
  const intervalMs = 1000 / perSecond;
  let timer: NodeJS.Timeout | undefined;
  let dueAt = 0;
  const tick = (): void => {
    for (const now = performance.now(); dueAt <= now; dueAt += intervalMs) {
      if (publisher.hasFreeLane) publisher.publish(dueAt);
      else failures.push('no connection was free when a message was due');
    }
    timer = setTimeout(tick, dueAt - performance.now());
  };
  return {
    failures,
    start: () => {
      dueAt = performance.now();
      tick();
    },
    stop: () => clearTimeout(timer),
    onReceived: () => undefined,
  };
};
