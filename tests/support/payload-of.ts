import type { TopicEvent } from '../../domain/topic/topic-events.js';

/** The payload of a message; in place of a loss, why there is none. */
export const payloadOf = (event: TopicEvent): string =>
  event.type === 'MessagePublished' ? event.payload : `lost: ${event.reason}`;
