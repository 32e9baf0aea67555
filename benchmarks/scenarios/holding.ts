/**
 * What is held and does nothing: idle sockets with durable subscriptions, which then all come back at once, and polls
 * that wait, which then are all answered by one message. Says what each takes of the service's memory.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CpuMeter } from '../generator/cpu-meter.js';
import type { Job, Measurement } from '../generator/job.js';
import { prepareStage, SETTLE_MS } from './stage.js';

/** The count is connections made again after all have been lost; the latency is that of one message to each. */
export const idleSockets = async (job: Job): Promise<Measurement> => {
  const count = job.sizes.idleSockets;
  const stage = await prepareStage(job, { count, topicCount: count, by: 'socket', isDurable: true });
  const first = await stage.open();
  const held = await stage.settle();
  first.close();
  await delay(SETTLE_MS);

  const meter = new CpuMeter(job);
  const begunAt = performance.now();
  await stage.open();
  const elapsedSeconds = (performance.now() - begunAt) / 1000;
  const cpu = meter.stop();
  await stage.publishToAll();
  return stage.finish({
    count,
    elapsedSeconds,
    cpu,
    figures: [
      { name: 'memory per socket', value: held.kibPerConnection, unit: 'KiB' },
      { name: 'all connected within', value: first.openedSeconds, unit: 's' },
      { name: 'all back within', value: elapsedSeconds, unit: 's' },
      { name: 'proxy busy while idle', value: held.busy * 100, unit: '%' },
    ],
  });
};

/** The count is polls answered by one message. */
export const heldPolls = async (job: Job): Promise<Measurement> => {
  const count = job.sizes.heldPolls;
  const stage = await prepareStage(job, { count, topicCount: 1, by: 'poll', isDurable: false });
  const polls = await stage.open();
  const held = await stage.settle();
  const meter = new CpuMeter(job);
  const begunAt = performance.now();
  await stage.publishToAll();
  const cpu = meter.stop();
  const elapsedSeconds = (polls.receivedAt - begunAt) / 1000;
  return stage.finish({
    count: polls.received,
    elapsedSeconds,
    cpu,
    figures: [
      { name: 'memory per poll', value: held.kibPerConnection, unit: 'KiB' },
      { name: 'all held within', value: polls.openedSeconds, unit: 's' },
      { name: 'proxy busy while holding', value: held.busy * 100, unit: '%' },
    ],
  });
};
