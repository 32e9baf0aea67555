import type { Stream } from '../../application/ports/event-store.js';
import { assertNever } from '../../domain/assert-never.js';

/** One text per stream. A client_id has no slash, so the last one parts it from its principal, whatever that holds. */
export const streamKey = (stream: Stream): string => {
  switch (stream.kind) {
    case 'topic':
      return `topic:${stream.topic}`;
    case 'subscription':
      return `subscription:${stream.identity.principal}/${stream.identity.clientId}`;
    case 'catalogue':
      return 'topics';
    default:
      return assertNever(stream);
  }
};
