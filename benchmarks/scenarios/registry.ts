/** The scenarios, in the order in which they are run. A new one is a few numbers here, or a file beside this one. */
import type { Job, Measurement } from '../generator/job.js';
import type { Sizes } from '../sizes.js';
import { delivery, type DeliveryShape } from './delivery.js';
import { heldPolls, idleSockets } from './holding.js';
import { ingest, type IngestShape } from './ingest.js';
import { replay } from './replay.js';
import type { Scenario, Unit } from './scenario.js';

const PRODUCERS = 64;
const HEADLINE_PRODUCERS = 256;
const ACKED_SOCKETS = 100;
const ACKED_BATCH = 50;
const MANY_TOPICS_UNDER_WAY = 64;

const count = (value: number): string => value.toLocaleString('en');

const ingesting = (name: string, title: string, shape: IngestShape): Scenario => ({
  name,
  title: () => title,
  unit: 'message',
  isOnce: false,
  connections: () => shape.lanes + 1,
  run: (job) => ingest(job, shape),
});

const delivering = (
  name: string,
  title: (sizes: Sizes) => string,
  shapeOf: (sizes: Sizes) => DeliveryShape,
  unit: Unit = 'delivery',
): Scenario => ({
  name,
  title,
  unit,
  isOnce: false,
  connections: (sizes) => shapeOf(sizes).receivers + PRODUCERS,
  run: (job) => delivery(job, shapeOf(job.sizes)),
});

const once = (
  name: string,
  title: (sizes: Sizes) => string,
  unit: Unit,
  connections: (sizes: Sizes) => number,
  run: (job: Job) => Promise<Measurement>,
): Scenario => ({ name, title, unit, isOnce: true, connections, run });

export const SCENARIOS: readonly Scenario[] = [
  ingesting('ingest', `Ingest: single POST over ${PRODUCERS} kept-alive connections`, {
    lanes: PRODUCERS,
    batch: 1,
  }),
  ingesting('ingest-bulk', 'Ingest: bulks of 100 over 8 kept-alive connections', { lanes: 8, batch: 100 }),
  ingesting('publish-socket', `Ingest: publish frames over ${PRODUCERS} WebSockets, one at a time on each`, {
    lanes: PRODUCERS,
    batch: 1,
    by: 'socket',
  }),
  delivering(
    'fan-out',
    ({ subscribers, underWay }) =>
      `Fan-out to ${count(subscribers)} sockets, at-most-once, saturated (${underWay} messages under way)`,
    ({ subscribers, underWay }) => ({ receivers: subscribers, topics: 1, pace: { underWay } }),
  ),
  delivering(
    'fan-out-light',
    ({ subscribers, lightPerSecond }) =>
      `Fan-out to ${count(subscribers)} sockets, at-most-once, ${count(lightPerSecond)} messages/s`,
    ({ subscribers, lightPerSecond }) => ({
      receivers: subscribers,
      topics: 1,
      pace: { perSecond: lightPerSecond },
    }),
  ),
  delivering(
    'acked',
    () =>
      `Acknowledged delivery to ${ACKED_SOCKETS} durable subscriptions, at-least-once, bulks of ${ACKED_BATCH}, an ack frame each`,
    () => ({
      receivers: ACKED_SOCKETS,
      topics: 1,
      isDurable: true,
      batch: ACKED_BATCH,
      pace: { underWay: 2 * ACKED_BATCH },
    }),
  ),
  delivering(
    'topics',
    ({ topics }) => `${count(topics)} topics with one socket each, ${MANY_TOPICS_UNDER_WAY} under way`,
    ({ topics }) => ({ receivers: topics, topics, pace: { underWay: MANY_TOPICS_UNDER_WAY } }),
    'message',
  ),
  delivering(
    'poll-one-topic',
    ({ polls }) => `Long-poll: ${count(polls)} polls on one topic, one message at a time`,
    ({ polls }) => ({ receivers: polls, topics: 1, by: 'poll', pace: { underWay: 1 } }),
  ),
  delivering(
    'poll-one-topic-light',
    ({ polls, pollLightPerSecond }) =>
      `Long-poll: ${count(polls)} polls on one topic, ${count(pollLightPerSecond)} messages/s`,
    ({ polls, pollLightPerSecond }) => ({
      receivers: polls,
      topics: 1,
      by: 'poll',
      pace: { perSecond: pollLightPerSecond },
    }),
  ),
  delivering(
    'poll-many-topics',
    ({ polls }) => `Long-poll: ${count(polls)} polls on as many topics, ${MANY_TOPICS_UNDER_WAY} under way`,
    ({ polls }) => ({
      receivers: polls,
      topics: polls,
      by: 'poll',
      pace: { underWay: MANY_TOPICS_UNDER_WAY },
    }),
    'message',
  ),
  once(
    'replay',
    ({ replayed }) =>
      `Replay of ${count(replayed)} messages to one socket while 50 others receive 100 messages/s each`,
    'message',
    () => 100,
    replay,
  ),
  once(
    'idle-sockets',
    ({ idleSockets: sockets }) =>
      `${count(sockets)} idle sockets with durable subscriptions on as many topics; all reconnect`,
    'connection',
    ({ idleSockets: sockets }) => sockets + PRODUCERS,
    idleSockets,
  ),
  once(
    'held-polls',
    ({ heldPolls: polls }) => `${count(polls)} held polls on one topic, answered by one message`,
    'delivery',
    ({ heldPolls: polls }) => polls + PRODUCERS,
    heldPolls,
  ),
  once(
    'headline',
    ({ headlineSockets, headlinePerSecond }) =>
      `${count(headlinePerSecond)} messages/s over ${count(headlineSockets)} topics with one socket each`,
    'message',
    ({ headlineSockets }) => headlineSockets + HEADLINE_PRODUCERS,
    (job) =>
      delivery(job, {
        receivers: job.sizes.headlineSockets,
        topics: job.sizes.headlineSockets,
        lanes: HEADLINE_PRODUCERS,
        pace: { perSecond: job.sizes.headlinePerSecond },
      }),
  ),
];
