/**
 * Metrics: what happened, in the service's own words. Data plane calls are plain additions; none may throw.
 * Does not promise: that a count survives the process.
 */
import type { Milliseconds } from '../../domain/time.js';
import type { TopicName } from '../../domain/topic/topic-name.js';

export type ConnectionKind = 'websocket' | 'long_poll';

export interface Metrics {
  connectionOpened(kind: ConnectionKind): void;
  connectionClosed(kind: ConnectionKind): void;
  messagesReceived(count: number): void;
  /** `latencyMs`: from the message being stored to it being written; told once for a batch, whoever many receive it. */
  messagesDelivered(kind: ConnectionKind, count: number, latencyMs: Milliseconds): void;
  /** Called at every scrape for how far the slowest local subscriber of each topic is behind its head. */
  observeQueueDepth(read: () => Iterable<readonly [TopicName, number]>): void;
  /** The Prometheus text exposition of everything observed. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}
