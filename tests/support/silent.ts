/** A Logger and Metrics for tests that are about something else; both remember what they were told. */
import type { Logger } from '../../application/ports/logger.js';
import type { ConnectionKind, Metrics } from '../../application/ports/metrics.js';
import type { TopicName } from '../../domain/topic/topic-name.js';

export class SilentLogger implements Logger {
  readonly events: string[] = [];

  debug(event: string): void {
    this.events.push(event);
  }

  info(event: string): void {
    this.events.push(event);
  }

  warn(event: string): void {
    this.events.push(event);
  }

  error(event: string): void {
    this.events.push(event);
  }
}

export class SilentMetrics implements Metrics {
  readonly open: Record<ConnectionKind, number> = { websocket: 0, long_poll: 0 };
  readonly delivered: Record<ConnectionKind, number> = { websocket: 0, long_poll: 0 };
  readonly latencies: number[] = [];
  received = 0;
  private readDepths: () => Iterable<readonly [TopicName, number]> = () => [];

  connectionOpened(kind: ConnectionKind): void {
    this.open[kind] += 1;
  }

  connectionClosed(kind: ConnectionKind): void {
    this.open[kind] -= 1;
  }

  messagesReceived(count: number): void {
    this.received += count;
  }

  messagesDelivered(kind: ConnectionKind, count: number, latencyMs: number): void {
    this.delivered[kind] += count;
    this.latencies.push(latencyMs);
  }

  observeQueueDepth(read: () => Iterable<readonly [TopicName, number]>): void {
    this.readDepths = read;
  }

  /** How far the slowest subscriber of each topic is behind. */
  get queueDepths(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.readDepths());
  }

  render(): Promise<{ readonly contentType: string; readonly body: string }> {
    return Promise.resolve({ contentType: 'text/plain', body: '' });
  }
}
