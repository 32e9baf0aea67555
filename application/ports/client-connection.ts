/**
 * ClientConnection: one subscriber's open connection. DATA PLANE: synchronous, no promise per delivery.
 * Promises: messages are written in the order they are given; `close` is final and may be called twice.
 * Does not promise: that what was written arrived. Only an acknowledgement says that.
 * Contract: tests/contracts/client-connection.contract.ts. Every adapter runs it.
 */
import type { Cursor, Recorded } from '../../domain/message/offset.js';
import type { MessagePublished } from '../../domain/topic/topic-events.js';
import type { TopicName } from '../../domain/topic/topic-name.js';

/** Neighbouring messages of one topic. One batch object serves every subscriber that stands at the same position. */
export interface MessageBatch {
  readonly topic: TopicName;
  readonly messages: readonly Recorded<MessagePublished>[];
  /** Their places, without their payloads: what is in flight must not hold on to what was sent. */
  readonly cursors: readonly Cursor[];
  /** Where a connection keeps its encoding of the whole batch for the next connection of its kind. */
  encoded?: Uint8Array;
}

/** Messages in (from, to] that this subscriber will not get, and why. */
export interface Gap {
  readonly topic: TopicName;
  readonly from: Cursor;
  readonly to: Cursor;
  readonly reason: GapReason;
}

/**
 * `retention`: trimmed by age or count. `removed`: taken out by somebody. `storage_rollback`: the storage lost its end.
 * `stream_reset`: the topic was deleted. `slow_consumer`: at-most-once, and the client did not keep up.
 */
export type GapReason = 'retention' | 'removed' | 'storage_rollback' | 'stream_reset' | 'slow_consumer';

/** `full`: written, but stop until `onWritable` is called. `closed`: not written. */
export type Written = 'sent' | 'full' | 'closed';

export type CloseReason = 'superseded' | 'going_away' | 'token_expired' | 'slow_consumer' | 'internal_error';

export interface ClientConnection {
  /**
   * Writes the whole batch. `attempt` counts deliveries of these messages to this subscription, from 1. `isAlone`: the
   * connection is hardly given anything else in this tick, so that it is not worth waiting for more.
   */
  deliver(batch: MessageBatch, attempt: number, isAlone?: boolean): Written;
  tellGap(gap: Gap): Written;
  close(reason: CloseReason): void;
}
