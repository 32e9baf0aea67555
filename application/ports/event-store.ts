/**
 * EventStore: the memory of the service. Topics and subscriptions are streams of events.
 * Promises: the events of one append are stored together, in order, or not at all; the store assigns offsets, which
 *   only grow, and `n`, which counts every event ever appended; with `expected` an append succeeds only while the
 *   stream ends at exactly that place; the first append to a topic also records `TopicCreated` in the catalogue;
 *   `append` resolves when the events are stored (Valkey: written; fsync within a second, or before the answer where
 *   `durability` is `fsync`). Where the storage has lost the end of a topic, or all of it, and anybody still knows of
 *   it, the store records `MessagesLost` in its place: neither offsets nor `n` are given twice.
 * Does not promise: order between streams, that a trimmed event can be read again, or that a stream which has
 *   been silent for its retention still exists (it then starts again at n = 1, with higher offsets).
 * Contract: tests/contracts/event-store.contract.ts. Every adapter runs it.
 */
import type { taskEither as TE } from 'fp-ts';
import type { Cursor, Offset, Recorded } from '../../domain/message/offset.js';
import type { SubscriptionEvent } from '../../domain/subscription/subscription-events.js';
import type { Identity } from '../../domain/subscription/client-id.js';
import type { Milliseconds } from '../../domain/time.js';
import type { CatalogueEvent, TopicEvent } from '../../domain/topic/topic-events.js';
import type { TopicName } from '../../domain/topic/topic-name.js';

/** Names a stream and, by its type, the events in it. */
export type Stream<Event = StoredEvent> = { readonly __events?: Event } & (
  | { readonly kind: 'topic'; readonly topic: TopicName }
  | { readonly kind: 'subscription'; readonly identity: Identity }
  | { readonly kind: 'catalogue' }
);

export type StoredEvent = TopicEvent | SubscriptionEvent | CatalogueEvent;

export const topicStream = (topic: TopicName): Stream<TopicEvent> => ({ kind: 'topic', topic });
export const subscriptionStream = (identity: Identity): Stream<SubscriptionEvent> => ({
  kind: 'subscription',
  identity,
});
export const CATALOGUE: Stream<CatalogueEvent> = { kind: 'catalogue' };

/** The store did not do it. `outcome` says whether it may have: `unknown` means sent and not answered. */
export interface StoreUnavailable {
  readonly _tag: 'StoreUnavailable';
  readonly outcome: 'not_stored' | 'unknown';
  readonly reason:
    | 'disconnected'
    | 'timeout'
    | 'loading'
    | 'full'
    | 'read_only'
    | 'write_error'
    | 'overloaded'
    /** `fsync` was asked for and the store has no log to sync. */
    | 'not_durable'
    | 'failed';
  readonly cause: unknown;
}

/** The stream did not end at the expected place: somebody else has appended, or its end was lost. */
export interface VersionConflict {
  readonly _tag: 'VersionConflict';
  /** Where it ends; `BEGINNING` where it does not exist. */
  readonly actual: Cursor;
}

/**
 * What must have happened before an append is answered: written by the store; written and synced to its disk; or
 * synced where the store has a log to sync and else written.
 */
export type Durability = 'stored' | 'fsync' | 'fsync_if_logged';

export interface AppendOptions {
  /**
   * The stream's end, for an append that must come right after what the caller has seen. Both parts count: a stream
   * that lost its end and grew to the same length again has another offset there. Absent: append anyway.
   */
  readonly expected?: Cursor;
  /** Default: stored. */
  readonly durability?: Durability;
}

/** Makes an append happen once, however often it is asked for. */
export interface Once {
  /** At most 512 characters; what it is unique among is the caller's to say. */
  readonly key: string;
  /** The same for the same request: another one under the same key is refused. */
  readonly fingerprint: string;
  /** How long the key is remembered. */
  readonly windowMs: Milliseconds;
}

export interface OnceItem<Event> {
  readonly event: Event;
  /** Absent: stored as `append` would. */
  readonly once?: Once;
}

/** What became of one item: stored now, stored before under this key, or refused because the key was another's. */
export type OnceOutcome =
  | { readonly _tag: 'Stored'; readonly at: Cursor }
  | { readonly _tag: 'Duplicate'; readonly at: Cursor }
  | { readonly _tag: 'KeyReused' };

/** Where a stream stands: `first` is the place before its oldest readable event, `last` that of its newest. */
export interface Bounds {
  readonly first: Cursor;
  readonly last: Cursor;
}

export interface EventStore {
  /** Stores `events` (at least one) at the end; answers the place of each. */
  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    options?: AppendOptions,
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]>;

  /**
   * Stores those of `items` (at least one) whose keys are new, in one piece with remembering the keys; answers for each.
   * Two items with the same key in one call count like two calls.
   */
  appendOnce<Event extends StoredEvent>(
    stream: Stream<Event>,
    items: readonly OnceItem<Event>[],
    options?: Pick<AppendOptions, 'durability'>,
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]>;

  /** Up to `limit` events above `after`, in order; none where there are none. */
  read<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): TE.TaskEither<StoreUnavailable, readonly Recorded<Event>[]>;

  /**
   * DATA PLANE: what `read` would begin with, at once, where this process holds it in memory without a hole from
   * `after` on; undefined where it must be read. Never empty.
   */
  peek<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Cursor,
    limit: number,
  ): readonly Recorded<Event>[] | undefined;

  /** Both ends of the stream; `{BEGINNING, BEGINNING}` for one that was never written. */
  bounds(stream: Stream): TE.TaskEither<StoreUnavailable, Bounds>;

  /** Forgets every event below `below`. */
  trim(stream: Stream, below: Offset): TE.TaskEither<StoreUnavailable, void>;

  /** Forgets the events at these offsets; their `n` stays unused. Answers how many there were. */
  remove(stream: Stream, offsets: readonly Offset[]): TE.TaskEither<StoreUnavailable, number>;
}

/** How long streams live without being written to, and how much of a topic is kept. */
export interface RetentionSettings {
  /** Messages older than this may be forgotten. */
  readonly messagesMs: Milliseconds;
  /** Topics are trimmed at about this count: never below it, above it by less than one block of the store. */
  readonly messagesPerTopicMax: number;
  /** A subscription that has been silent for this long is forgotten. */
  readonly subscriptionMs: Milliseconds;
}

/** A topic outlives its last message by as long as any subscription may still ask for what followed it. */
export const topicIdleMs = ({
  messagesMs,
  subscriptionMs,
}: Pick<RetentionSettings, 'messagesMs' | 'subscriptionMs'>): Milliseconds => messagesMs + subscriptionMs;

const SWEEP_INTERVAL_MS_MIN: Milliseconds = 1_000;
const SWEEP_INTERVAL_MS_MAX: Milliseconds = 10 * 60_000;

/** How often to look for what is over, where every `wantedMs` would do: neither all the time nor once a day. */
export const sweepIntervalMs = (wantedMs: Milliseconds): Milliseconds =>
  Math.min(SWEEP_INTERVAL_MS_MAX, Math.max(SWEEP_INTERVAL_MS_MIN, Math.ceil(wantedMs)));

/** Can the store be used? Adapters that cannot be unhealthy (memory) always answer yes. */
export interface HealthProbe {
  /** Resolves to the reasons why the service is not ready; empty when it is. */
  problems(): Promise<readonly string[]>;
}
