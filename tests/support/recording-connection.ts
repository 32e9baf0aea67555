/**
 * A client's connection that remembers what it was given. It takes everything, unless a test lets it be full or lets
 * it be gone.
 */
import type {
  ClientConnection,
  CloseReason,
  Gap,
  MessageBatch,
  Written,
} from '../../application/ports/client-connection.js';
import type { Offset } from '../../domain/message/offset.js';
import type { TopicName } from '../../domain/topic/topic-name.js';

export interface Delivery {
  readonly topic: TopicName;
  readonly offset: Offset;
  readonly n: number;
  readonly payload: string;
  readonly attempt: number;
}

export class RecordingConnection implements ClientConnection {
  readonly deliveries: Delivery[] = [];
  readonly gaps: Gap[] = [];
  readonly closes: CloseReason[] = [];
  /** What the next writes are answered with. */
  answer: Written = 'sent';
  /** How many batches were written after one was answered with `full` and before `drain`. */
  overruns = 0;
  /** The last write was answered with `full`, and there was no `drain` since. */
  isFull = false;

  deliver(batch: MessageBatch, attempt: number): Written {
    return this.write(() => {
      for (const { offset, n, event } of batch.messages) {
        this.deliveries.push({ topic: batch.topic, offset, n, payload: event.payload, attempt });
      }
    });
  }

  tellGap(gap: Gap): Written {
    return this.write(() => this.gaps.push(gap));
  }

  close(reason: CloseReason): void {
    this.closes.push(reason);
  }

  /** There is room again; whoever wrote has to be told. */
  drain(): void {
    this.answer = 'sent';
    this.isFull = false;
  }

  get payloads(): readonly string[] {
    return this.deliveries.map(({ payload }) => payload);
  }

  private write(remember: () => void): Written {
    if (this.closes.length > 0 || this.answer === 'closed') return 'closed';
    if (this.isFull) this.overruns += 1;
    remember();
    this.isFull = this.answer === 'full';
    return this.answer;
  }
}
