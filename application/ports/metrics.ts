/**
 * Metrics: what happened, in the service's own words. Data plane calls are plain additions; none may throw.
 * Does not promise: that a count survives the process.
 */
import type { Milliseconds } from '../../domain/time.js';
import type { DeadLetterReason } from '../../domain/subscription/subscription-events.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import type { GapReason } from './client-connection.js';

export type ConnectionKind = 'websocket' | 'long_poll';

/** `slow_consumer`: the connection took no more. `connection_lost`: it broke after the delivery was recorded. */
export type DropReason = 'slow_consumer' | 'connection_lost';

/** What this instance has delivered over connections and what was not acknowledged yet. */
export interface InFlight {
  readonly messages: number;
  /** Since the oldest of them was published; 0 where there is none. */
  readonly oldestAgeMs: Milliseconds;
}

export interface StorageState {
  readonly isUp: boolean;
  /** How long a message takes through the feed, measured with one of our own; undefined before the first. */
  readonly feedLagMs: Milliseconds | undefined;
}

export interface Metrics {
  connectionOpened(kind: ConnectionKind): void;
  connectionClosed(kind: ConnectionKind): void;
  messagesReceived(count: number): void;
  /** `latencyMs`: from the message being stored to it being written; told once for a batch, whoever many receive it. */
  messagesDelivered(kind: ConnectionKind, count: number, latencyMs: Milliseconds): void;
  messagesAcknowledged(count: number): void;
  /** Of those delivered, how many were not delivered for the first time. */
  messagesRedelivered(count: number): void;
  messagesDeadLettered(reason: DeadLetterReason, count: number): void;
  /** Their time to live was over before they could be delivered. */
  messagesExpired(count: number): void;
  /** At-most-once: recorded as delivered, and not delivered. */
  messagesDropped(reason: DropReason, count: number): void;
  /** A client was told of a loss; `count` is how many messages of the topic it covers. */
  gapTold(reason: GapReason, count: number): void;
  /** A newer connection or poll has taken the subscription. */
  sessionSuperseded(): void;
  /** Called at every scrape. */
  observeInFlight(read: () => InFlight): void;
  /** Called at every scrape. */
  observeStorage(read: () => StorageState): void;
  /** Called at every scrape for how far the slowest local subscriber of each topic is behind its head. */
  observeQueueDepth(read: () => Iterable<readonly [TopicName, number]>): void;
  /** The Prometheus text exposition of everything observed. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}
