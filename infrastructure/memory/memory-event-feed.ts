/**
 * MemoryEventFeed: tells what is appended to a MemoryEventStore, by direct call. Nothing can be lost on the way, so
 * there is nothing to repair; what remains is that the appends of one tick come as one batch.
 */
import { taskEither as TE } from 'fp-ts';
import type { EventFeed, Following } from '../../application/ports/event-feed.js';
import type { StoredEvent, Stream } from '../../application/ports/event-store.js';
import type { Offset, Recorded } from '../../domain/message/offset.js';
import type { MemoryEventStore } from './memory-event-store.js';
import { streamKey } from './stream-key.js';

interface Follower {
  /** Told are events above it only: what is waiting to be told may have been appended before following began. */
  readonly start: Offset;
  readonly onEvents: (events: readonly Recorded<StoredEvent>[]) => void;
}

/** One followed stream, whoever follows it. */
interface Channel {
  readonly followers: Set<Follower>;
  /** Appended in this tick, to be told at its end. */
  arrived: Recorded<StoredEvent>[];
}

export class MemoryEventFeed implements EventFeed {
  private readonly channels = new Map<string, Channel>();

  constructor(private readonly store: MemoryEventStore) {
    store.onAppended((key, recorded) => this.onAppended(key, recorded));
  }

  follow<Event extends StoredEvent>(
    stream: Stream<Event>,
    onEvents: (events: readonly Recorded<Event>[]) => void,
  ): Following {
    const key = streamKey(stream);
    const channel = this.channels.get(key) ?? this.open(key);
    const start = this.store.lastOf(stream);
    const follower: Follower = {
      start: start.offset,
      onEvents: (events) => onEvents(events as readonly Recorded<Event>[]),
    };
    channel.followers.add(follower);
    return {
      start: TE.right(start),
      stop: () => {
        channel.followers.delete(follower);
        if (channel.followers.size === 0 && this.channels.get(key) === channel) this.channels.delete(key);
      },
    };
  }

  private open(key: string): Channel {
    const channel: Channel = { followers: new Set(), arrived: [] };
    this.channels.set(key, channel);
    return channel;
  }

  private onAppended(key: string, recorded: readonly Recorded<StoredEvent>[]): void {
    const channel = this.channels.get(key);
    if (channel === undefined) return;
    // Not a microtask: each request ends in microtasks of its own, and a tick has many requests.
    if (channel.arrived.length === 0) setImmediate(() => tell(channel));
    for (const each of recorded) channel.arrived.push(each);
  }
}

const tell = (channel: Channel): void => {
  const { arrived } = channel;
  channel.arrived = [];
  const oldest = arrived[0]?.offset ?? 0;
  for (const { start, onEvents } of channel.followers) {
    const fresh = oldest > start ? arrived : arrived.filter(({ offset }) => offset > start);
    if (fresh.length > 0) onEvents(fresh);
  }
};
