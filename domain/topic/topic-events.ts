import type { Instant } from '../time.js';
import type { TopicName } from './topic-name.js';

/** One message. `payload` is the producer's own JSON text, byte for byte; nothing in the service parses it again. */
export interface MessagePublished {
  readonly type: 'MessagePublished';
  readonly payload: string;
  /** From this instant on the message is not delivered any more. */
  readonly expiresAt?: Instant;
  readonly key?: string;
  readonly priority?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export type TopicEvent = MessagePublished;

/** The catalogue's event: the first message of `topic` has been stored. */
export interface TopicCreated {
  readonly type: 'TopicCreated';
  readonly topic: TopicName;
}

export type CatalogueEvent = TopicCreated;
