/**
 * EventStore and EventFeed in two tiers: everything is written to the persistent tier; what is followed is also kept
 * in the hot tier, filled by the feed, and read from there first.
 */
import { either as E, type taskEither as TE } from 'fp-ts';
import type { Clock } from '../../application/ports/clock.js';
import type { EventFeed, Following } from '../../application/ports/event-feed.js';
import {
  topicStream,
  type AppendOptions,
  type Bounds,
  type EventStore,
  type OnceItem,
  type OnceOutcome,
  type StoredEvent,
  type StoreUnavailable,
  type Stream,
  type VersionConflict,
} from '../../application/ports/event-store.js';
import type { Cursor, Offset, Recorded } from '../../domain/message/offset.js';
import type { TopicEvent } from '../../domain/topic/topic-events.js';
import { streamKey } from '../memory/stream-key.js';
import { HotTier, type HotTierSettings } from './hot-tier.js';

/** Windows of topics in which nothing happens any more are looked at this often. */
const EVICTION_INTERVAL_MS = 1_000;

export class TieredEventStore implements EventStore, EventFeed {
  private readonly hot: HotTier;
  private readonly fillings = new Map<string, Filling>();
  private cancelEviction: () => void;

  constructor(
    private readonly store: EventStore,
    private readonly feed: EventFeed,
    private readonly clock: Clock,
    settings: HotTierSettings,
  ) {
    this.hot = new HotTier(settings);
    this.cancelEviction = clock.after(EVICTION_INTERVAL_MS, () => this.evict());
  }

  close(): void {
    this.cancelEviction();
  }

  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    options?: AppendOptions,
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    return this.store.append(stream, events, options);
  }

  appendOnce<Event extends StoredEvent>(
    stream: Stream<Event>,
    items: readonly OnceItem<Event>[],
    options?: Pick<AppendOptions, 'durability'>,
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]> {
    return this.store.appendOnce(stream, items, options);
  }

  read<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): TE.TaskEither<StoreUnavailable, readonly Recorded<Event>[]> {
    return () => {
      const hot = this.hot.window(streamKey(stream))?.after(after, limit);
      return hot === undefined
        ? this.store.read(stream, after, limit)()
        : Promise.resolve(E.right(ofStream<Event>(hot)));
    };
  }

  peek<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Cursor,
    limit: number,
  ): readonly Recorded<Event>[] | undefined {
    const hot = this.hot.window(streamKey(stream))?.next(after, limit);
    return hot === undefined ? undefined : ofStream<Event>(hot);
  }

  bounds(stream: Stream): TE.TaskEither<StoreUnavailable, Bounds> {
    return this.store.bounds(stream);
  }

  trim(stream: Stream, below: Offset): TE.TaskEither<StoreUnavailable, void> {
    this.hot.trim(streamKey(stream), below);
    return this.store.trim(stream, below);
  }

  /** Other instances that follow the topic may show them for as long as they hold them. */
  remove(stream: Stream, offsets: readonly Offset[]): TE.TaskEither<StoreUnavailable, number> {
    return async () => {
      const removed = await this.store.remove(stream, offsets)();
      // Also where it failed: they may be gone, and to read the topic from Valkey for a while is always right.
      this.hot.remove(streamKey(stream), offsets);
      return removed;
    };
  }

  follow<Event extends StoredEvent>(
    stream: Stream<Event>,
    onEvents: (events: readonly Recorded<Event>[]) => void,
  ): Following {
    if (stream.kind !== 'topic') return this.feed.follow(stream, onEvents);
    const key = streamKey(stream);
    const filling = this.fillings.get(key) ?? this.fill(topicStream(stream.topic), key);
    filling.followers += 1;
    // Followed second, so told second: whoever is told of a message finds it in the window already.
    return new FilledFollowing(this.feed.follow(stream, onEvents), filling, this.onUnused);
  }

  private fill(stream: Stream<TopicEvent>, key: string): Filling {
    const filling: Filling = {
      key,
      followers: 0,
      following: this.feed.follow(stream, (events) => this.hot.push(key, events, this.clock.now())),
    };
    this.fillings.set(key, filling);
    void filling.following.start().then((start) => {
      if (E.isRight(start) && this.fillings.get(key) === filling) this.hot.open(key, start.right);
    });
    return filling;
  }

  private readonly onUnused = (filling: Filling): void => {
    filling.following.stop();
    this.fillings.delete(filling.key);
    this.hot.close(filling.key);
  };

  private evict(): void {
    this.hot.evict(this.clock.now());
    this.cancelEviction = this.clock.after(EVICTION_INTERVAL_MS, () => this.evict());
  }
}

/** What keeps the window of one topic filled, for as long as anybody follows the topic. */
interface Filling {
  readonly key: string;
  readonly following: Following;
  followers: number;
}

/** Following a topic whose window is filled. */
class FilledFollowing implements Following {
  private isStopped = false;

  constructor(
    private readonly following: Following,
    private readonly filling: Filling,
    private readonly onUnused: (filling: Filling) => void,
  ) {}

  get start(): Following['start'] {
    return this.following.start;
  }

  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    this.following.stop();
    this.filling.followers -= 1;
    if (this.filling.followers === 0) this.onUnused(this.filling);
  }
}

/** Only topics have windows, so these are the events that the stream is made of. */
const ofStream = <Event extends StoredEvent>(
  events: readonly Recorded<TopicEvent>[],
): readonly Recorded<Event>[] => events as readonly Recorded<StoredEvent>[] as readonly Recorded<Event>[];
