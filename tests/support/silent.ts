/** A Logger and Metrics for tests that are about something else; both remember what they were told. */
import type { Logger } from '../../application/ports/logger.js';
import type { GapReason } from '../../application/ports/client-connection.js';
import type {
  ConnectionKind,
  DropReason,
  InFlight,
  Metrics,
  StorageState,
} from '../../application/ports/metrics.js';
import type { DeadLetterReason } from '../../domain/subscription/subscription-events.js';
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
  readonly deadLettered: Record<DeadLetterReason, number> = { max_deliveries: 0, terminated: 0 };
  readonly dropped: Record<DropReason, number> = { slow_consumer: 0, connection_lost: 0 };
  readonly gaps: { readonly reason: GapReason; readonly count: number }[] = [];
  received = 0;
  acknowledged = 0;
  redelivered = 0;
  expired = 0;
  superseded = 0;
  private readDepths: () => Iterable<readonly [TopicName, number]> = () => [];
  private readInFlight: () => InFlight = () => ({ messages: 0, oldestAgeMs: 0 });
  private readStorage: () => StorageState = () => ({ isUp: false, feedLagMs: undefined });

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
    this.gaps.push({ reason, count });
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

  observeQueueDepth(read: () => Iterable<readonly [TopicName, number]>): void {
    this.readDepths = read;
  }

  /** How far the slowest subscriber of each topic is behind. */
  get queueDepths(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.readDepths());
  }

  get inFlight(): InFlight {
    return this.readInFlight();
  }

  get storage(): StorageState {
    return this.readStorage();
  }

  render(): Promise<{ readonly contentType: string; readonly body: string }> {
    return Promise.resolve({ contentType: 'text/plain', body: '' });
  }
}
