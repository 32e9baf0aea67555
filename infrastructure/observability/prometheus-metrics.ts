/**
 * PrometheusMetrics: Metrics on prom-client, under the names that the README promises, with Node's own process metrics.
 * What the data plane counts are plain numbers that a scrape copies: prom-client hashes its labels on every call, which
 * would cost more than sending the message. Every instance has a registry of its own.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ConnectionKind, Metrics } from '../../application/ports/metrics.js';
import type { Milliseconds } from '../../domain/time.js';
import type { TopicName } from '../../domain/topic/topic-name.js';

type QueueDepths = Iterable<readonly [TopicName, number]>;

const CONNECTION_KINDS: readonly ConnectionKind[] = ['websocket', 'long_poll'];

/** A series for each of a million topics would stop Prometheus, and whoever is behind is among the deepest. */
const TOPICS_MAX = 100;

const OTHER_TOPICS = 'other';

/** From a message that only crossed this process to one that waited for a reconnect. */
const LATENCY_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class PrometheusMetrics implements Metrics {
  private readonly registry = new Registry();
  private readonly connections: Record<ConnectionKind, number> = { websocket: 0, long_poll: 0 };
  private readonly delivered: Record<ConnectionKind, number> = { websocket: 0, long_poll: 0 };
  private readonly latency: Record<ConnectionKind, Histogram.Internal<'type'>>;
  private received = 0;
  private readQueueDepths: () => QueueDepths = () => [];

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    this.registerConnections();
    this.registerReceived();
    this.registerDelivered();
    this.registerQueueDepth();
    const latency = new Histogram({
      name: 'proxy_message_latency_seconds',
      help: 'Time from a message being stored to it being written to a connection, observed once per batch',
      labelNames: ['type'],
      buckets: LATENCY_BUCKETS_SECONDS,
      registers: [this.registry],
    });
    // Series that exist from the start read as 0 instead of as missing.
    for (const type of CONNECTION_KINDS) latency.zero({ type });
    this.latency = { websocket: latency.labels('websocket'), long_poll: latency.labels('long_poll') };
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
    // The store's clock may be ahead of ours, and a histogram throws at what is not a number.
    this.latency[kind].observe(latencyMs > 0 && Number.isFinite(latencyMs) ? latencyMs / 1000 : 0);
  }

  observeQueueDepth(read: () => QueueDepths): void {
    this.readQueueDepths = read;
  }

  async render(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  private registerConnections(): void {
    const { connections } = this;
    new Gauge({
      name: 'proxy_connections_total',
      help: 'Active connections by type (a gauge, in spite of the name: it goes down when they close)',
      labelNames: ['type'],
      registers: [this.registry],
      collect() {
        for (const type of CONNECTION_KINDS) this.set({ type }, connections[type]);
      },
    });
  }

  private registerReceived(): void {
    const received = (): number => this.received;
    new Counter({
      name: 'proxy_messages_received_total',
      help: 'Messages that producers have published through this process',
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(received());
      },
    });
  }

  private registerDelivered(): void {
    const { delivered } = this;
    new Counter({
      name: 'proxy_messages_delivered_total',
      help: 'Messages written to connections, each counted once for every connection that it was written to',
      labelNames: ['type'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const type of CONNECTION_KINDS) this.inc({ type }, delivered[type]);
      },
    });
  }

  private registerQueueDepth(): void {
    const read = (): QueueDepths => this.readQueueDepths();
    new Gauge({
      name: 'proxy_queue_depth',
      help: `Messages that the slowest local subscriber of a topic is behind; the ${TOPICS_MAX} deepest topics, the rest summed as ${OTHER_TOPICS}`,
      labelNames: ['topic'],
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
