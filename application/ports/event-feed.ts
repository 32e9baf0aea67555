/**
 * EventFeed: tells what is appended to a stream, by whichever instance.
 * Promises: once `start` has resolved with a place C, `onEvents` is called with every event above C, each exactly
 *   once, in order; a lost notification is found out and repaired from the stream. Events appended in one tick come
 *   as one batch. `stop` is immediate: no call after it.
 * Does not promise: events that were trimmed before they could be told (their `n` is missing), or how soon: while the
 *   store is out of reach nothing comes, afterwards everything does.
 * Contract: tests/contracts/event-feed.contract.ts. Every adapter runs it.
 */
import type { taskEither as TE } from 'fp-ts';
import type { Cursor, Recorded } from '../../domain/message/offset.js';
import type { StoredEvent, StoreUnavailable, Stream } from './event-store.js';

export interface Following {
  /** The stream's end when following began; nothing at or below it is told. */
  readonly start: TE.TaskEither<StoreUnavailable, Cursor>;
  /** Idempotent. */
  stop(): void;
}

export interface EventFeed {
  follow<Event extends StoredEvent>(
    stream: Stream<Event>,
    /** DATA PLANE: must not throw and must not block. */
    onEvents: (events: readonly Recorded<Event>[]) => void,
  ): Following;
}
