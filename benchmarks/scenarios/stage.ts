/** What the scenarios of held connections have in common: opening them, waiting for quiet, a message to each at the end. */
import { setTimeout as delay } from 'node:timers/promises';
import { DeliveryCheck } from '../generator/delivery-check.js';
import type { Faults, Job, Measurement } from '../generator/job.js';
import { Latencies } from '../generator/latencies.js';
import { cpuSecondsOf, residentKiBOf } from '../generator/processes.js';
import { Publisher } from '../generator/publisher.js';
import { TopicSet } from '../generator/topic-set.js';
import { until, within } from '../generator/until.js';
import { openReceivers, type Receivers, type ReceiversSettings } from './receivers.js';
import { CONNECT_TIMEOUT_MS, DRAIN_TIMEOUT_MS, shown } from './scenario.js';

/** Opened before anything is measured: code that has been compiled is not memory of a connection. */
const WARM_UP_CONNECTIONS = 300;
/** The service collects what connecting has left over. */
export const SETTLE_MS = 3_000;
const LANES = 16;
/** Far more than it takes: what has not arrived by then is lost. */
const DELIVERY_MS = 5;

export interface StageSettings {
  readonly count: number;
  readonly topicCount: number;
  readonly by: 'socket' | 'poll';
  readonly isDurable: boolean;
}

type TimedReceivers = Receivers & { readonly openedSeconds: number };

interface Held {
  readonly kibPerConnection: number;
  /** Share of a core while nothing happens. */
  readonly busy: number;
}

export interface Stage {
  open(): Promise<TimedReceivers>;
  /** Waits until the service has come to rest, and says what the connections take. */
  settle(): Promise<Held>;
  /** Resolves when one message on each topic has arrived everywhere, or does not any more. */
  publishToAll(): Promise<void>;
  finish(measured: Pick<Measurement, 'count' | 'elapsedSeconds' | 'cpu' | 'figures'>): Measurement;
}

export const prepareStage = async (
  job: Job,
  { count, topicCount, by, isDurable }: StageSettings,
): Promise<Stage> => {
  const topics = new TopicSet(by, topicCount);
  // One lane, since every topic gets one message.
  const check = new DeliveryCheck({ subscribers: count, topics: topicCount, lanes: 1 });
  const latencies = new Latencies();
  const failures: string[] = [];
  const opened: Receivers[] = [];
  let faults: Omit<Faults, 'failed'> = { lost: 0, duplicated: 0, reordered: 0 };
  let delivered = 0;
  const settings: ReceiversSettings = {
    count,
    topics,
    by,
    isDurable,
    onDelivery: (receiver, sequence) => {
      delivered += 1;
      check.onDelivery(receiver, sequence);
    },
    onLatency: (milliseconds) => latencies.add(milliseconds),
  };
  const warmUp = await openReceivers(job, {
    ...settings,
    count: Math.min(count, WARM_UP_CONNECTIONS),
    firstUser: count,
    topics: new TopicSet('warm-up', topicCount),
    onDelivery: () => undefined,
  });
  warmUp.close();
  await delay(SETTLE_MS);
  const kibBefore = residentKiBOf(job.servicePids);

  return {
    open: async () => {
      const begunAt = performance.now();
      const receivers = await openReceivers(job, settings);
      // What goes wrong with those that are closed later on counts as well.
      opened.push(receivers);
      return Object.assign(receivers, { openedSeconds: (performance.now() - begunAt) / 1000 });
    },
    settle: async () => {
      await delay(SETTLE_MS);
      const kibPerConnection = (residentKiBOf(job.servicePids) - kibBefore) / count;
      const cpuBefore = cpuSecondsOf(job.servicePids);
      await delay(job.seconds * 1000);
      return { kibPerConnection, busy: (cpuSecondsOf(job.servicePids) - cpuBefore) / job.seconds };
    },
    publishToAll: async () => {
      // Opened only now: the service may end connections that do nothing for as long as it takes to get here.
      const publisher = await within(
        Publisher.open(job, { topics, lanes: topicCount === 1 ? 1 : LANES, batch: 1 }),
        CONNECT_TIMEOUT_MS,
        'connecting',
      );
      const pump = (): void => {
        while (publisher.publishFirst(performance.now()));
      };
      publisher.onAnswer = pump;
      pump();
      const isAll = await until(
        () => publisher.answered === topicCount && delivered >= count,
        DRAIN_TIMEOUT_MS + count * DELIVERY_MS,
      );
      publisher.close();
      failures.push(...publisher.failures);
      if (!isAll) failures.push(`${publisher.answered} were published, ${delivered} delivered`);
      faults = check.finish((topic, lane) => publisher.answeredOn(topic, lane));
    },
    finish: (measured) => {
      for (const receivers of opened) receivers.close();
      const all = [...failures, ...opened.flatMap((receivers) => receivers.failures)];
      return {
        ...measured,
        latencyMs: latencies.percentiles(),
        ...faults,
        failed: all.length,
        failures: shown(all),
      };
    },
  };
};
