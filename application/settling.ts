/** What a consumer can say of messages that it was given, and what it is answered. */
import type { MessageId } from '../domain/message/message-id.js';
import type { Milliseconds } from '../domain/time.js';

export type Settling =
  | { readonly type: 'Acknowledge'; readonly ids: readonly MessageId[] }
  /** Everything of the id's topic that is unacknowledged, up to and including it. */
  | { readonly type: 'AcknowledgeUpTo'; readonly id: MessageId }
  /** To be delivered again: after `delayMs`, or after the configured backoff where that is undefined. */
  | {
      readonly type: 'Reject';
      readonly ids: readonly MessageId[];
      readonly delayMs: Milliseconds | undefined;
    }
  /** The client is still working on them: the acknowledgement timeout starts anew. */
  | { readonly type: 'Extend'; readonly ids: readonly MessageId[] }
  /** Given up for good: to the dead-letter topic, and not delivered again. */
  | { readonly type: 'Terminate'; readonly ids: readonly MessageId[] };

/** What became of the ids. Each is in one of the lists, or counted. */
export interface Settled {
  /** How many it took effect on, now. */
  readonly count: number;
  /** Delivered to this subscription and not waited for any more: acknowledged, or given up, before. */
  readonly alreadySettled: readonly MessageId[];
  /** The topic does not keep the message any more. */
  readonly trimmed: readonly MessageId[];
  /** Never delivered to this subscription, or never published at all. */
  readonly unknown: readonly MessageId[];
}
