/**
 * An instant as text (RFC 3339, in UTC). HOT PATH, once per message and once per publication: what comes within one
 * millisecond has the same text, and a busy instance has many messages in each, so the last text is kept.
 */
import type { Instant } from '../../domain/time.js';

let lastInstant: Instant = 0;
let lastText = new Date(lastInstant).toISOString();

export const isoTime = (instant: Instant): string => {
  if (instant !== lastInstant) {
    lastText = new Date(instant).toISOString();
    lastInstant = instant;
  }
  return lastText;
};
