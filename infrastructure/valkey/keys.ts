/**
 * The names of streams and channels in Valkey. `topic:<name>` is promised to users (`XLEN topic:notifications`).
 * A channel also carries the database number, because pub/sub does not know databases.
 */
import { assertNever } from '../../domain/assert-never.js';
import type { Stream } from '../../application/ports/event-store.js';

export interface KeyNames {
  readonly key: (stream: Stream) => string;
  readonly channel: (stream: Stream) => string;
  /** Where it is remembered what was appended under an idempotency key. */
  readonly idempotency: (key: string) => string;
}

export const keyNames = ({
  keyPrefix,
  db,
}: {
  readonly keyPrefix: string;
  readonly db: number;
}): KeyNames => {
  const key = (stream: Stream): string => `${keyPrefix}${unprefixed(stream)}`;
  return {
    key,
    channel: (stream) => `${key(stream)}@${db}`,
    // The colons that part such a key may stay: what is encoded has none of its own that would mean anything else.
    idempotency: (once) => `${keyPrefix}idempotency:${encoded(once).replaceAll('%3A', ':')}`,
  };
};

const unprefixed = (stream: Stream): string => {
  switch (stream.kind) {
    case 'topic':
      return `topic:${stream.topic}`;
    case 'subscription':
      return `subscription:${encoded(stream.identity.principal)}/${stream.identity.clientId}`;
    case 'catalogue':
      return 'topics';
    default:
      return assertNever(stream);
  }
};

/** Any text, without a slash of its own, so that two identities never share a key. JSON text is always valid Unicode. */
const encoded = (text: string): string => encodeURIComponent(JSON.stringify(text).slice(1, -1));
