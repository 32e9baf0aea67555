/**
 * Where a session stands in each of its topics, and how many messages wait for an acknowledgement over all of them.
 * HOT PATH: an acknowledgement of one message costs a look-up and a new position (domain/subscription/topic-position.ts).
 * What is here for each topic is held by every idle socket: measured by npm run bench -- --scenario idle-sockets.
 */
import type { MessageId } from '../domain/message/message-id.js';
import type { Cursor, Offset } from '../domain/message/offset.js';
import {
  floorOf,
  isHead,
  returned,
  settled,
  unacknowledged,
  unacknowledgedUpTo,
  type Delivered,
  type TopicPosition,
} from '../domain/subscription/topic-position.js';
import type { Instant } from '../domain/time.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { eachKnown, NOTHING_TAKEN, type Taken } from './ids-of-topic.js';
import type { LiveTopics, Membership, TopicListener } from './live-topics.js';
import type { MessageBatch } from './ports/client-connection.js';

/** Who is told what an entry hears of its topic. */
export interface EntryOwner {
  onBatch(entry: Entry, batch: MessageBatch): number;
  onLost(entry: Entry): void;
}

/** One topic of a session. It listens itself, so that no listener has to be made for it. */
export class Entry implements TopicListener {
  membership: Membership;
  /** The feed could not be reached, so nothing of the topic is heard; the next tick joins again. */
  isCutOff = false;
  /** Stands at the topic's head and has room: new batches go straight to the connection. */
  isLive = false;
  /** Moved since the last commit in a way that the journal must know. */
  isDirty = false;
  /** Something was delivered since the last commit: an instance that takes over would count the delivery as well. */
  hasSent = false;
  /** At-most-once, and the connection took no more: what comes meanwhile is dropped, and told as lost. */
  isDropping = false;
  /** What the storage has lost up to here was told to the client. */
  lossesToldTo: Offset | undefined = undefined;
  /** Not delivered any more, and only here until what was acknowledged of it is recorded. */
  hasLeft = false;

  constructor(
    readonly topic: TopicName,
    public position: TopicPosition,
    private readonly owner: EntryOwner,
    liveTopics: LiveTopics,
  ) {
    this.membership = liveTopics.join(topic, this);
  }

  rejoin(liveTopics: LiveTopics): void {
    this.isCutOff = false;
    this.hasLeft = false;
    this.membership = liveTopics.join(this.topic, this);
  }

  onBatch(batch: MessageBatch): number {
    return this.owner.onBatch(this, batch);
  }

  onLost(): void {
    this.owner.onLost(this);
  }

  lag(head: Cursor): number {
    return Math.max(0, head.n - floorOf(this.position).n);
  }
}

type OnKnown = (entry: Entry, offsets: readonly Offset[]) => void;

const ONE_TAKEN: Taken = { ...NOTHING_TAKEN, count: 1 };

export class SessionPositions {
  /** In the order in which they are brought to their heads: whichever was served goes to the back. */
  private readonly entries = new Map<TopicName, Entry>();
  private waitingCount = 0;

  /** Unacknowledged messages over all topics. */
  get waiting(): number {
    return this.waitingCount;
  }

  /** Where the oldest unacknowledged message stands; undefined where there is none. */
  get oldestWaiting(): Offset | undefined {
    let oldest: Offset | undefined;
    for (const { position } of this.entries.values()) {
      if (unacknowledged(position) === 0) continue;
      const { offset } = floorOf(position);
      if (oldest === undefined || offset < oldest) oldest = offset;
    }
    return oldest;
  }

  /** Of one topic there is one batch in a tick. */
  get isOne(): boolean {
    return this.entries.size === 1;
  }

  get(topic: TopicName): Entry | undefined {
    return this.entries.get(topic);
  }

  all(): Iterable<Entry> {
    return this.entries.values();
  }

  add(entry: Entry): void {
    this.waitingCount += unacknowledged(entry.position);
    this.entries.set(entry.topic, entry);
  }

  remove(entry: Entry): void {
    this.waitingCount -= unacknowledged(entry.position);
    this.entries.delete(entry.topic);
  }

  clear(): void {
    this.entries.clear();
    this.waitingCount = 0;
  }

  /** It was served: the others are next. */
  toTheBack(entry: Entry): void {
    this.entries.delete(entry.topic);
    this.entries.set(entry.topic, entry);
  }

  /** Moves one position. What the journal must know of is the caller's to say. */
  place(entry: Entry, position: TopicPosition): void {
    this.waitingCount += unacknowledged(position) - unacknowledged(entry.position);
    entry.position = position;
  }

  /** Moves one position in a way that the journal must know. */
  move(entry: Entry, position: TopicPosition): void {
    this.place(entry, position);
    entry.isDirty = true;
  }

  /** These are due again, each group at the instant that `dueAfter` says for its number of deliveries. */
  giveBack(entry: Entry, groups: readonly Delivered[], dueAfter: (attempt: number) => Instant): void {
    for (const { attempt, offsets } of groups) {
      this.move(entry, returned(entry.position, offsets, dueAfter(attempt)));
    }
  }

  /** HOT PATH. Settles those of the ids that are waited for. One id that is the oldest of its topic takes the short way. */
  acknowledge(ids: readonly MessageId[]): Taken {
    const only = ids[0];
    const entry = only === undefined || ids.length > 1 ? undefined : this.entries.get(only.topic);
    if (only === undefined || entry === undefined || !isHead(entry.position, only.offset)) {
      return this.eachKnown(ids, (known, offsets) => this.move(known, settled(known.position, offsets)));
    }
    entry.position = settled(entry.position, [only.offset]);
    entry.isDirty = true;
    this.waitingCount -= 1;
    return ONE_TAKEN;
  }

  /** Calls `onKnown` with those of the ids that are waited for, topic by topic, and sorts out the others. */
  eachKnown(ids: readonly MessageId[], onKnown: OnKnown): Taken {
    return eachKnown(ids, (topic) => this.entries.get(topic), onKnown);
  }

  /** Settles everything in the id's topic that is waited for, up to and including it. */
  acknowledgeUpTo(id: MessageId): Taken {
    const entry = this.entries.get(id.topic);
    if (entry === undefined || id.offset > entry.position.next.offset) {
      return { ...NOTHING_TAKEN, unknown: [id] };
    }
    const offsets = unacknowledgedUpTo(entry.position, id.offset);
    if (offsets.length === 0) return { ...NOTHING_TAKEN, settledBefore: [id] };
    this.move(entry, settled(entry.position, offsets));
    return { ...NOTHING_TAKEN, count: offsets.length };
  }
}
