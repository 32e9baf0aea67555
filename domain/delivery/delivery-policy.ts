/**
 * A guarantee is *when the position moves*: at-most-once records, then sends; at-least-once sends, then records the
 * acknowledgement. A policy answers the two questions in which they differ; everything else is the same for both.
 */
import { assertNever } from '../assert-never.js';
import type { Cursor } from '../message/offset.js';
import type { TopicPosition } from '../subscription/topic-position.js';
import type { Instant } from '../time.js';
import { atLeastOnce } from './at-least-once.js';
import { atMostOnce } from './at-most-once.js';
import type { Guarantee } from './guarantee.js';

export interface DeliveryPolicy {
  /** Must the journal know of a dispatch before the first byte leaves? */
  readonly recordsBeforeSend: boolean;
  /** The position once `cursors`, out of everything up to `next`, have been given to the client. */
  readonly dispatched: (
    position: TopicPosition,
    next: Cursor,
    cursors: readonly Cursor[],
    attempt: number,
    deadline: Instant,
  ) => TopicPosition;
}

export const policyOf = (guarantee: Guarantee): DeliveryPolicy => {
  switch (guarantee) {
    case 'at_least_once':
      return atLeastOnce;
    case 'at_most_once':
      return atMostOnce;
    default:
      return assertNever(guarantee);
  }
};
