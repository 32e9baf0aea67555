/**
 * PrometheusMetrics: Metrics on prom-client, under the names that the README promises, with Node's own process metrics.
 * What the data plane counts are plain numbers that a scrape copies: prom-client hashes its labels on every call, which
 * would cost more than sending the message. Every instance has a registry of its own.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry, type Aggregator } from 'prom-client';
import type { GapReason } from '../../application/ports/client-connection.js';
import type {
  ConnectionKind,
  DropReason,
  InFlight,
  Metrics,
  StorageState,
} from '../../application/ports/metrics.js';
import type { DeadLetterReason } from '../../domain/subscription/subscription-events.js';
import type { Milliseconds } from '../../domain/time.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import { readingOf, type Reading } from './reading.js';

type QueueDepths = Iterable<readonly [TopicName, number]>;

/** One number for each value of a label. Made with every value, so that each series reads 0 instead of missing. */
type Counts<Value extends string> = Record<Value, number>;

const byKind = (): Counts<ConnectionKind> => ({ websocket: 0, long_poll: 0 });
const byGapReason = (): Counts<GapReason> => ({
  retention: 0,
  removed: 0,
  storage_rollback: 0,
  stream_reset: 0,
  slow_consumer: 0,
});

/** A series for each of a million topics would stop Prometheus, and whoever is behind is among the deepest. */
const TOPICS_MAX = 100;

const OTHER_TOPICS = 'other';

/** From a message that only crossed this process to one that waited for a reconnect. */
const LATENCY_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class PrometheusMetrics implements Metrics {
  private readonly registry = new Registry();
  private readonly connections = byKind();
  private readonly delivered = byKind();
  private readonly deadLettered: Counts<DeadLetterReason> = { max_deliveries: 0, terminated: 0 };
  private readonly dropped: Counts<DropReason> = { slow_consumer: 0, connection_lost: 0 };
  private readonly gaps = byGapReason();
  private readonly lost = byGapReason();
  private readonly latency: Record<ConnectionKind, Histogram.Internal<'type'>>;
  private received = 0;
  private acknowledged = 0;
  private redelivered = 0;
  private expired = 0;
  private superseded = 0;
  private readQueueDepths: () => QueueDepths = () => [];
  private readInFlight: () => InFlight = () => ({ messages: 0, oldestAgeMs: 0 });
  private readStorage: () => StorageState = () => ({ isUp: false, feedLagMs: undefined });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    this.registerCounters();
    this.registerCountersByLabel();
    this.registerGauges();
    this.registerQueueDepth();
    this.latency = this.registerLatency();
  }

  connectionOpened(kind: ConnectionKind): void {
    this.connections[kind] += 1;
  }

  connectionClosed(kind: ConnectionKind): void {
    this.connections[kind] -= 1;
  }

  messagesReceived(count: number): void {
    this.received += count;
  }

  messagesDelivered(kind: ConnectionKind, count: number, latencyMs: Milliseconds): void {
    this.delivered[kind] += count;
    this.latency[kind].observe(secondsOf(latencyMs));
  }

  messagesAcknowledged(count: number): void {
    this.acknowledged += count;
  }

  messagesRedelivered(count: number): void {
    this.redelivered += count;
  }

  messagesDeadLettered(reason: DeadLetterReason, count: number): void {
    this.deadLettered[reason] += count;
  }

  messagesExpired(count: number): void {
    this.expired += count;
  }

  messagesDropped(reason: DropReason, count: number): void {
    this.dropped[reason] += count;
  }

  gapTold(reason: GapReason, count: number): void {
    this.gaps[reason] += 1;
    // A stream that has started over may be counted from below where the client stood.
    if (count > 0) this.lost[reason] += count;
  }

  sessionSuperseded(): void {
    this.superseded += 1;
  }

  observeInFlight(read: () => InFlight): void {
    this.readInFlight = read;
  }

  observeStorage(read: () => StorageState): void {
    this.readStorage = read;
  }

  observeQueueDepth(read: () => QueueDepths): void {
    this.readQueueDepths = read;
  }

  async render(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  /** Every metric with its values: what a worker tells of itself. */
  read(): Promise<Reading> {
    return readingOf(this.registry);
  }

  private registerCounters(): void {
    const counters: readonly (readonly [name: string, help: string, read: () => number])[] = [
      [
        'proxy_messages_received_total',
        'Messages that producers have published through this process',
        () => this.received,
      ],
      [
        'proxy_messages_acknowledged_total',
        'Messages that subscribers have acknowledged through this process',
        () => this.acknowledged,
      ],
      [
        'proxy_messages_redelivered_total',
        'Messages delivered that were not delivered to the subscription for the first time',
        () => this.redelivered,
      ],
      [
        'proxy_messages_expired_total',
        'Messages not delivered because their time to live was over',
        () => this.expired,
      ],
      [
        'proxy_sessions_superseded_total',
        'Connections and polls that a newer one has taken the subscription from',
        () => this.superseded,
      ],
    ];
    for (const [name, help, read] of counters) {
      new Counter({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    }
  }

  private registerCountersByLabel(): void {
    const counters: readonly (readonly [
      name: string,
      label: string,
      help: string,
      counts: Counts<string>,
    ])[] = [
      [
        'proxy_messages_delivered_total',
        'type',
        'Messages written to connections, each counted once for every connection that it was written to',
        this.delivered,
      ],
      [
        'proxy_messages_dead_lettered_total',
        'reason',
        'Messages that were given up and published to the dead-letter topic',
        this.deadLettered,
      ],
      [
        'proxy_messages_dropped_total',
        'reason',
        'At-most-once messages recorded as delivered and not delivered',
        this.dropped,
      ],
      ['proxy_gaps_total', 'reason', 'Losses that subscribers were told of', this.gaps],
      [
        'proxy_messages_lost_total',
        'reason',
        'Messages in the losses that subscribers were told of',
        this.lost,
      ],
    ];
    for (const [name, label, help, counts] of counters) {
      new Counter({
        name,
        help,
        labelNames: [label],
        registers: [this.registry],
        collect() {
          this.reset();
          for (const [value, count] of Object.entries(counts)) this.inc({ [label]: value }, count);
        },
      });
    }
  }

  private registerGauges(): void {
    const { connections } = this;
    new Gauge({
      name: 'proxy_connections_total',
      help: 'Active connections by type (a gauge, in spite of the name: it goes down when they close)',
      labelNames: ['type'],
      registers: [this.registry],
      collect() {
        for (const [type, count] of Object.entries(connections)) this.set({ type }, count);
      },
    });
    /** Undefined: no sample. `ofWorkers`: what is said of several processes together. */
    const gauges: readonly (readonly [
      name: string,
      help: string,
      ofWorkers: Aggregator,
      read: () => number | undefined,
    ])[] = [
      [
        'proxy_messages_in_flight',
        'Messages delivered through this process and not acknowledged yet',
        'sum',
        () => this.readInFlight().messages,
      ],
      [
        'proxy_oldest_unacknowledged_seconds',
        'Age of the oldest message in flight, 0 where there is none',
        'max',
        () => secondsOf(this.readInFlight().oldestAgeMs),
      ],
      [
        'proxy_storage_up',
        'Whether this process is connected to its storage (1) or not (0)',
        'min',
        () => (this.readStorage().isUp ? 1 : 0),
      ],
      [
        'proxy_feed_lag_seconds',
        'How long a message takes through pub/sub, measured once a second with one of our own; absent without pub/sub',
        'max',
        () => {
          const { feedLagMs } = this.readStorage();
          return feedLagMs === undefined ? undefined : secondsOf(feedLagMs);
        },
      ],
    ];
    for (const [name, help, ofWorkers, read] of gauges) {
      new Gauge({
        name,
        help,
        aggregator: ofWorkers,
        registers: [this.registry],
        collect() {
          const value = read();
          if (value === undefined) this.remove();
          else this.set(value);
        },
      });
    }
  }

  private registerLatency(): Record<ConnectionKind, Histogram.Internal<'type'>> {
    const latency = new Histogram({
      name: 'proxy_message_latency_seconds',
      help: 'Time from a message being stored to it being written to a connection, observed once per batch',
      labelNames: ['type'],
      buckets: LATENCY_BUCKETS_SECONDS,
      registers: [this.registry],
    });
    // Series that exist from the start read as 0 instead of as missing.
    for (const type of Object.keys(byKind())) latency.zero({ type });
    return { websocket: latency.labels('websocket'), long_poll: latency.labels('long_poll') };
  }

  private registerQueueDepth(): void {
    const read = (): QueueDepths => this.readQueueDepths();
    new Gauge({
      name: 'proxy_queue_depth',
      help: `Messages that the slowest local subscriber of a topic is behind; the ${TOPICS_MAX} deepest topics, the rest summed as ${OTHER_TOPICS}`,
      labelNames: ['topic'],
      // Whoever is the furthest behind is, whichever worker it is connected to.
      aggregator: 'max',
      registers: [this.registry],
      collect() {
        this.reset();
        const deepestFirst = [...read()].sort(([, a], [, b]) => b - a);
        // Added, not set: a topic may itself be named like the sum of the rest.
        for (const [topic, depth] of deepestFirst.slice(0, TOPICS_MAX)) this.inc({ topic }, depth);
        const rest = deepestFirst.slice(TOPICS_MAX);
        if (rest.length > 0) this.inc({ topic: OTHER_TOPICS }, sumOf(rest));
      },
    });
  }
}

const sumOf = (depths: readonly (readonly [TopicName, number])[]): number =>
  depths.reduce((sum, [, depth]) => sum + depth, 0);

/** The store's clock may be ahead of ours, and prom-client throws at what is not a number. */
const secondsOf = (ms: Milliseconds): number => (ms > 0 && Number.isFinite(ms) ? ms / 1000 : 0);
