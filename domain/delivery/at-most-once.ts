/** Recorded first, then sent, never again. Costs: what the connection loses is lost. */
import type { Cursor } from '../message/offset.js';
import { advanced, type TopicPosition } from '../subscription/topic-position.js';

export const atMostOnce = {
  recordsBeforeSend: true,
  dispatched: (position: TopicPosition, next: Cursor): TopicPosition => advanced(position, next),
} as const;
