import type { Cursor, Recorded } from '../message/offset.js';
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

/**
 * The storage has lost what came after the event before this one, up to and including this place: its log lost its end
 * (`storage_rollback`), or the whole stream was deleted (`stream_reset`). Recorded by the store when it finds out.
 */
export interface MessagesLost {
  readonly type: 'MessagesLost';
  readonly reason: 'storage_rollback' | 'stream_reset';
  /** Where the loss is, if others had appended behind it before it was found out: after `from`, up to `to`. */
  readonly between?: { readonly from: Cursor; readonly to: Cursor };
}

export type TopicEvent = MessagePublished | MessagesLost;

/** The catalogue's event: the first message of `topic` has been stored. */
export interface TopicCreated {
  readonly type: 'TopicCreated';
  readonly topic: TopicName;
}

export type CatalogueEvent = TopicCreated;

/** Is this a message, and not the mark of a loss? */
export const isMessage = (recorded: Recorded<TopicEvent>): recorded is Recorded<MessagePublished> =>
  recorded.event.type === 'MessagePublished';
