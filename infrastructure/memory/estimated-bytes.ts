/**
 * About how much memory an event takes. Bounds on memory need the right order of magnitude, cheaply, not the truth:
 * texts count as if every character took one byte, which is what V8 stores for text in Latin script.
 */
import type { StoredEvent } from '../../application/ports/event-store.js';

/** The objects around the texts of one recorded event, measured with a million small messages. */
const OBJECTS_BYTES = 180;
/** Subscription events carry lists of places, not texts; they are short-lived and this is a usual one. */
const OTHER_EVENT_BYTES = 512;
const HEADER_BYTES = 48;

export const estimatedBytes = (event: StoredEvent): number => {
  if (event.type !== 'MessagePublished') return OBJECTS_BYTES + OTHER_EVENT_BYTES;
  let bytes = OBJECTS_BYTES + event.payload.length + (event.key?.length ?? 0);
  for (const name in event.headers) bytes += HEADER_BYTES + name.length + (event.headers[name]?.length ?? 0);
  return bytes;
};
