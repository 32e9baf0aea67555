/** The scenarios, in the order in which they are run. A new one is a few numbers here, or a file beside this one. */
import { delivery } from './delivery.js';
import { ingest } from './ingest.js';
import type { Scenario } from './scenario.js';

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'ingest',
    title: 'Ingest: single POST over 64 kept-alive connections',
    unit: 'message',
    run: (job) => ingest(job, { connections: 64, batch: 1 }),
  },
  {
    name: 'fan-out',
    title: 'Fan-out to 1,000 sockets, at-most-once, saturated (64 messages under way)',
    unit: 'delivery',
    run: (job) => delivery(job, { subscribers: 1000, isDurable: false, batch: 1, pace: { underWay: 64 } }),
  },
  {
    name: 'fan-out-light',
    title: 'Fan-out to 1,000 sockets, at-most-once, 50 messages/s',
    unit: 'delivery',
    run: (job) => delivery(job, { subscribers: 1000, isDurable: false, batch: 1, pace: { perSecond: 50 } }),
  },
  {
    name: 'acked',
    title:
      'Acknowledged delivery to 100 durable subscriptions, at-least-once, bulks of 50, an ack frame each',
    unit: 'delivery',
    run: (job) => delivery(job, { subscribers: 100, isDurable: true, batch: 50, pace: { underWay: 100 } }),
  },
];
