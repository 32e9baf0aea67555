/**
 * MemoryEventStore: the EventStore of a single process without Valkey, and the store of most tests. What it holds ends
 * with the process; within it, every promise of the port is kept, retention included. There is no disk to sync to, so
 * whoever asks for that is refused.
 */
import { either as E, taskEither as TE } from 'fp-ts';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import {
  CATALOGUE,
  topicIdleMs,
  type AppendOptions,
  type Bounds,
  type EventStore,
  type HealthProbe,
  type Once,
  type OnceItem,
  type OnceOutcome,
  type RetentionSettings,
  type StoredEvent,
  type StoreUnavailable,
  type Stream,
  type VersionConflict,
} from '../../application/ports/event-store.js';
import {
  BEGINNING,
  instantOf,
  offsetAt,
  type Cursor,
  type Offset,
  type Recorded,
  toCursor,
} from '../../domain/message/offset.js';
import type { Instant } from '../../domain/time.js';
import type { CatalogueEvent } from '../../domain/topic/topic-events.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import { EventLog } from './event-log.js';
import { RememberedKeys } from './remembered-keys.js';
import { streamKey } from './stream-key.js';

export type AppendListener = (key: string, recorded: readonly Recorded<StoredEvent>[]) => void;

interface Entry {
  readonly stream: Stream;
  readonly log: EventLog<StoredEvent>;
}

const SWEEP_INTERVAL_MS = 1_000;
/** Streams looked at in one sweep: a fraction of a millisecond, so that no delivery waits for it. */
const SWEEP_STREAMS_MAX = 1_000;
const SWEEP_KEYS_MAX = 10_000;
/** A few hundred megabytes. Beyond it appends with a key are refused: a key that was forgotten early would be a lie. */
const REMEMBERED_KEYS_MAX = 1_000_000;

export class MemoryEventStore implements EventStore, HealthProbe {
  /** Topics and subscriptions. */
  private readonly entries = new Map<string, Entry>();
  private readonly catalogue = new EventLog<CatalogueEvent>();
  private readonly remembered = new RememberedKeys(REMEMBERED_KEYS_MAX);
  private readonly listeners = new Set<AppendListener>();
  /** Where the next sweep goes on. */
  private sweeping = this.entries.entries();
  private cancelSweep: Cancel;

  constructor(
    private readonly clock: Clock,
    private readonly retention: RetentionSettings,
  ) {
    this.cancelSweep = clock.after(SWEEP_INTERVAL_MS, () => this.sweep());
  }

  /** Ends the forgetting of what is old. */
  close(): void {
    this.cancelSweep();
  }

  /** Calls `listener` for every append, while it is being made. */
  onAppended(listener: AppendListener): void {
    this.listeners.add(listener);
  }

  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    { expected, durability }: AppendOptions = {},
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    if (durability === 'fsync') return TE.left(refused('not_durable'));
    return TE.fromIOEither(() => {
      const actual = this.lastOf(stream);
      return expected === undefined || isSame(expected, actual)
        ? E.right(this.appendNow(stream, events))
        : E.left({ _tag: 'VersionConflict', actual });
    });
  }

  appendOnce<Event extends StoredEvent>(
    stream: Stream<Event>,
    items: readonly OnceItem<Event>[],
    { durability }: Pick<AppendOptions, 'durability'> = {},
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]> {
    if (durability === 'fsync') return TE.left(refused('not_durable'));
    return TE.fromIOEither(() =>
      this.remembered.hasRoomFor(items.filter(({ once }) => once !== undefined).length)
        ? E.right(items.map(({ event, once }) => this.appendOnceNow(stream, event, once)))
        : E.left(refused('full')),
    );
  }

  read<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): TE.TaskEither<never, readonly Recorded<Event>[]> {
    return TE.fromIO(() => this.readNow(stream, after, limit));
  }

  peek<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Cursor,
    limit: number,
  ): readonly Recorded<Event>[] | undefined {
    const events = this.readNow(stream, after.offset, limit);
    // `n` only grows, so the last one tells whether one is missing anywhere before it.
    const isWhole = events[events.length - 1]?.n === after.n + events.length;
    return isWhole && events.length > 0 ? events : undefined;
  }

  bounds(stream: Stream): TE.TaskEither<never, Bounds> {
    return TE.fromIO(() => ({ first: this.find(stream)?.first ?? BEGINNING, last: this.lastOf(stream) }));
  }

  trim(stream: Stream, below: Offset): TE.TaskEither<never, void> {
    return TE.fromIO(() => this.find(stream)?.dropBelow(below));
  }

  remove(stream: Stream, offsets: readonly Offset[]): TE.TaskEither<never, number> {
    return TE.fromIO(() => {
      const gone = new Set(offsets);
      return this.find(stream)?.remove(({ offset }) => gone.has(offset)) ?? 0;
    });
  }

  /** The stream's end, at once. */
  lastOf(stream: Stream): Cursor {
    return this.find(stream)?.last ?? BEGINNING;
  }

  /** How many idempotency keys are held. */
  get rememberedKeys(): number {
    return this.remembered.size;
  }

  problems(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  private appendNow(stream: Stream, events: readonly StoredEvent[]): readonly Cursor[] {
    const found = this.find(stream);
    const now = this.clock.now();
    const log = found ?? this.create(stream);
    const recorded = log.append(events, now);
    if (stream.kind === 'topic') this.retain(log, now);
    this.tell(stream, recorded);
    if (found === undefined && stream.kind === 'topic') {
      this.tell(CATALOGUE, this.catalogue.append([{ type: 'TopicCreated', topic: stream.topic }], now));
    }
    return recorded.map(toCursor);
  }

  private appendOnceNow(stream: Stream, event: StoredEvent, once: Once | undefined): OnceOutcome {
    const now = this.clock.now();
    const known = once && this.remembered.find(once.key, now);
    if (known !== undefined) {
      return known.fingerprint === once?.fingerprint
        ? { _tag: 'Duplicate', at: known.at }
        : { _tag: 'KeyReused' };
    }
    const [at = BEGINNING] = this.appendNow(stream, [event]);
    if (once !== undefined) {
      const { key, fingerprint, windowMs } = once;
      this.remembered.remember(key, { fingerprint, at, expiresAt: now + windowMs }, now);
    }
    return { _tag: 'Stored', at };
  }

  private readNow<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): readonly Recorded<Event>[] {
    // Only events of its type are ever appended to a stream, so its log holds nothing else.
    return (this.find(stream)?.after(after, limit) ?? []) as readonly Recorded<Event>[];
  }

  private find(stream: Stream): EventLog<StoredEvent> | undefined {
    if (stream.kind === 'catalogue') return this.catalogue;
    return this.entries.get(streamKey(stream))?.log;
  }

  private create(stream: Stream): EventLog<StoredEvent> {
    const log = new EventLog<StoredEvent>();
    this.entries.set(streamKey(stream), { stream, log });
    return log;
  }

  private tell(stream: Stream, recorded: readonly Recorded<StoredEvent>[]): void {
    for (const listener of this.listeners) listener(streamKey(stream), recorded);
  }

  private retain(topic: EventLog<StoredEvent>, now: Instant): void {
    topic.dropOldest(topic.size - this.retention.messagesPerTopicMax);
    topic.dropBelow(offsetAt(now - this.retention.messagesMs));
  }

  private sweep(): void {
    const now = this.clock.now();
    const forgotten = new Set<TopicName>();
    for (let visited = 0; visited < SWEEP_STREAMS_MAX; visited++) {
      const next = this.sweeping.next();
      if (next.done === true) {
        this.sweeping = this.entries.entries();
        break;
      }
      const [key, { stream, log }] = next.value;
      if (stream.kind === 'topic') this.retain(log, now);
      if (now - instantOf(log.last.offset) < this.idleMsOf(stream)) continue;
      this.entries.delete(key);
      if (stream.kind === 'topic') forgotten.add(stream.topic);
    }
    if (forgotten.size > 0) this.catalogue.remove(({ event }) => forgotten.has(event.topic));
    this.remembered.sweep(SWEEP_KEYS_MAX, now);
    this.cancelSweep = this.clock.after(SWEEP_INTERVAL_MS, () => this.sweep());
  }

  /** A topic outlives its last message by as long as any subscription may still ask for what followed it. */
  private idleMsOf(stream: Stream): number {
    return stream.kind === 'topic' ? topicIdleMs(this.retention) : this.retention.subscriptionMs;
  }
}

const refused = (reason: StoreUnavailable['reason']): StoreUnavailable => ({
  _tag: 'StoreUnavailable',
  outcome: 'not_stored',
  reason,
  cause: undefined,
});

const isSame = (a: Cursor, b: Cursor): boolean => a.offset === b.offset && a.n === b.n;
