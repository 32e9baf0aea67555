/**
 * EventFeed on Valkey pub/sub. The append script publishes what it stores, so a message is here one hop after it is
 * stored, at a cost that does not depend on how many topics are followed. Pub/sub is only the fast path: whatever it
 * loses shows as a missing `n`, after a reconnect or in the periodic position check, and is read from the stream.
 * What the stream itself has lost shows as an end before the place that was told last, or as an `n` that is told a
 * second time; it is recorded (lost-messages.ts) before anything is told that came after it.
 *
 * HOT PATH, budget 4 µs per event (npm run bench): text is cut, not parsed; events of one tick are told as one batch.
 */
import { either as E } from 'fp-ts';
import type { EventFeed, Following } from '../../application/ports/event-feed.js';
import type {
  EventStore,
  StoredEvent,
  StoreUnavailable,
  Stream,
} from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Cursor, Offset, Recorded } from '../../domain/message/offset.js';
import type { KeyNames } from './keys.js';
import type { LostMessages, Reached } from './lost-messages.js';
import { decodeEvent } from './recorded-event-codec.js';
import { FIELD_SEPARATOR, RECORD_SEPARATOR } from './scripts.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand, notSent } from './valkey-errors.js';

interface Follower {
  readonly onEvents: (events: readonly Recorded<StoredEvent>[]) => void;
}

/** One followed stream, whoever follows it. */
interface Channel {
  readonly stream: Stream;
  readonly name: string;
  readonly opened: Promise<E.Either<StoreUnavailable, Cursor>>;
  /** Follow calls that were not stopped; with the last of them the channel goes. */
  users: number;
  readonly followers: Set<Follower>;
  /** The last event that was told, or the stream's end when following began; undefined until then. */
  last: Cursor | undefined;
  /** Told by pub/sub and not passed on yet: until following has begun, while repairing, and within one tick. */
  arrived: Recorded<StoredEvent>[];
  isRepairing: boolean;
  /**
   * The pub/sub connection on which it is known that nothing was missed before. A stream that has lost its end may be
   * counted on from where it is, so after a break `n` may fit although messages are missing: until the stream was
   * asked, nothing is passed on.
   */
  wholeOn: number;
  /** Waits for the end of the tick to be passed on. */
  isTouched: boolean;
}

/** How often every followed stream is compared with its end in Valkey. */
const POSITION_CHECK_MS = 5_000;
/** Positions asked for in one go; more would delay other reads on that socket. */
const POSITION_CHECK_GROUP = 200;
const REPAIR_PAGE = 500;
/** What arrives beyond this while a channel opens or repairs is dropped and read from the stream afterwards. */
const ARRIVED_MAX = 10_000;

export class ValkeyEventFeed implements EventFeed {
  private readonly channels = new Map<string, Channel>();
  private touched: Channel[] = [];
  private wanted:
    { readonly names: string[]; readonly done: Promise<StoreUnavailable | undefined> } | undefined;
  private readonly timer: NodeJS.Timeout;
  private isChecking = false;
  private isCheckWanted = false;
  /** Which connection of pub/sub this is, and the last one on which every channel was subscribed to. */
  private connectionNumber = 0;
  private subscribedOn = 0;

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly store: EventStore,
    private readonly names: KeyNames,
    private readonly lost: LostMessages,
    private readonly logger: Logger,
  ) {
    lost.observeFollowed(() => this.reached());
    connection.subscriber.on('message', (name: string, text: string) => this.onMessage(name, text));
    connection.subscriber.on('ready', () => void this.resume());
    // `commands` as well: a loss that was found out without it could not be recorded.
    for (const client of [connection.reads, connection.commands]) {
      client.on('ready', () => void this.checkPositions());
    }
    this.timer = setInterval(() => void this.checkPositions(), POSITION_CHECK_MS);
  }

  follow<Event extends StoredEvent>(
    stream: Stream<Event>,
    onEvents: (events: readonly Recorded<Event>[]) => void,
  ): Following {
    const name = this.names.channel(stream);
    const channel = this.channels.get(name) ?? this.open(stream, name);
    const follower: Follower = { onEvents: (events) => onEvents(events as readonly Recorded<Event>[]) };
    let isStopped = false;
    channel.users += 1;
    const start = channel.opened.then((opened) => {
      if (E.isLeft(opened) || isStopped) return opened;
      // From this moment on it is told what all are told; everything up to `last` it has to read for itself.
      channel.followers.add(follower);
      return E.right(channel.last ?? opened.right);
    });
    return {
      start: () => start,
      stop: () => {
        if (isStopped) return;
        isStopped = true;
        channel.followers.delete(follower);
        channel.users -= 1;
        if (channel.users === 0) this.close(channel);
      },
    };
  }

  dispose(): void {
    clearInterval(this.timer);
    for (const channel of this.channels.values()) channel.followers.clear();
    this.channels.clear();
  }

  private *reached(): Iterable<Reached> {
    for (const { stream, last } of this.channels.values()) {
      if (stream.kind === 'topic' && last !== undefined) yield { topic: stream.topic, end: last };
    }
  }

  private open(stream: Stream, name: string): Channel {
    const channel: Channel = {
      stream,
      name,
      opened: Promise.resolve().then(() => this.begin(channel)),
      users: 0,
      followers: new Set(),
      last: undefined,
      arrived: [],
      isRepairing: false,
      wholeOn: this.connectionNumber,
      isTouched: false,
    };
    this.channels.set(name, channel);
    return channel;
  }

  /** Subscribes first and asks for the end second: whatever is appended in between has arrived by then. */
  private async begin(channel: Channel): Promise<E.Either<StoreUnavailable, Cursor>> {
    const failure = await this.subscribe(channel.name);
    const bounds = failure === undefined ? await this.store.bounds(channel.stream)() : E.left(failure);
    if (E.isLeft(bounds)) {
      this.close(channel);
      return bounds;
    }
    const { last } = bounds.right;
    channel.last = last;
    this.touch(channel);
    return E.right(last);
  }

  private close(channel: Channel): void {
    if (this.channels.get(channel.name) !== channel) return;
    this.channels.delete(channel.name);
    if (this.connection.subscriber.status !== 'ready') return;
    // Left subscribed, its messages would find no channel and be dropped: worth no more than a line.
    this.connection.subscriber
      .unsubscribe(channel.name)
      .catch((error: unknown) =>
        this.logger.debug('valkey_unsubscribe_failed', { channel: channel.name, error }),
      );
  }

  /** Channels wanted in one tick share a SUBSCRIBE. */
  private subscribe(name: string): Promise<StoreUnavailable | undefined> {
    if (this.wanted === undefined) {
      const names: string[] = [];
      this.wanted = { names, done: Promise.resolve().then(() => this.sendSubscribe(names)) };
    }
    this.wanted.names.push(name);
    return this.wanted.done;
  }

  private async sendSubscribe(names: readonly string[]): Promise<StoreUnavailable | undefined> {
    this.wanted = undefined;
    const open = names.filter((name) => this.channels.has(name));
    if (open.length === 0) return undefined;
    if (this.connection.subscriber.status !== 'ready') return notSent('disconnected');
    try {
      await this.connection.subscriber.subscribe(...open);
      return undefined;
    } catch (error) {
      const failure = fromSentCommand(error);
      if (failure.reason === 'timeout') this.connection.reset(this.connection.subscriber);
      return failure;
    }
  }

  /** A new connection: subscribes to everything again, and only then asks what was missed. */
  private async resume(): Promise<void> {
    this.connectionNumber += 1;
    const connectionNumber = this.connectionNumber;
    const names = [...this.channels.keys()];
    const { subscriber } = this.connection;
    try {
      if (names.length > 0) await subscriber.subscribe(...names);
    } catch (error) {
      this.logger.warn('valkey_subscribe_failed', { channels: names.length, error });
      if (connectionNumber === this.connectionNumber) this.connection.reset(subscriber);
      return;
    }
    this.subscribedOn = connectionNumber;
    await this.checkPositions();
  }

  private onMessage(name: string, text: string): void {
    const channel = this.channels.get(name);
    if (channel === undefined) return;
    if (channel.arrived.length > ARRIVED_MAX) channel.arrived = [];
    for (let from = 0; from < text.length;) {
      const end = text.indexOf(RECORD_SEPARATOR, from);
      const recorded = decodeRecord(channel.stream, text, from, end === -1 ? text.length : end);
      if (recorded !== undefined) channel.arrived.push(recorded);
      if (end === -1) break;
      from = end + 1;
    }
    this.touch(channel);
  }

  /** Passes on what has arrived at the end of the tick: a pipeline of appends comes as one batch. */
  private touch(channel: Channel): void {
    if (channel.isTouched) return;
    channel.isTouched = true;
    if (this.touched.length === 0) {
      queueMicrotask(() => {
        const touched = this.touched;
        this.touched = [];
        for (const each of touched) {
          each.isTouched = false;
          this.passOn(each);
        }
      });
    }
    this.touched.push(channel);
  }

  private passOn(channel: Channel): void {
    if (channel.last === undefined || channel.isRepairing || channel.arrived.length === 0) return;
    if (channel.wholeOn !== this.connectionNumber) return;
    const arrived = channel.arrived;
    channel.arrived = [];
    let n = channel.last.n;
    const broken = arrived.findIndex((recorded) => {
      if (channel.last !== undefined && recorded.offset <= channel.last.offset) return false;
      n += 1;
      return recorded.n !== n;
    });
    if (broken === -1) {
      this.tell(channel, arrived);
      return;
    }
    this.tell(channel, arrived.slice(0, broken));
    channel.arrived = arrived.slice(broken);
    void this.repair(channel);
  }

  /** Tells what lies above `last`. */
  private tell(channel: Channel, events: readonly Recorded<StoredEvent>[]): void {
    const { last } = channel;
    const isNew = last === undefined || (events[0]?.offset ?? 0) > last.offset;
    const fresh = isNew ? events : events.filter(({ offset }) => offset > last.offset);
    const newest = fresh[fresh.length - 1];
    if (newest === undefined) return;
    channel.last = { offset: newest.offset, n: newest.n };
    for (const follower of channel.followers) follower.onEvents(fresh);
  }

  /**
   * Reads what pub/sub has not told. What is still missing afterwards, of what had arrived before, is gone. Answers
   * whether the end was reached.
   */
  private async repair(channel: Channel): Promise<boolean> {
    if (channel.isRepairing || channel.last === undefined) return false;
    channel.isRepairing = true;
    const arrivedBefore = channel.arrived;
    channel.arrived = [];
    const isWhole = await this.readOn(channel);
    channel.isRepairing = false;
    // After a failed read the hole is still there, and is found again by the next event or position check.
    if (isWhole) this.tell(channel, arrivedBefore);
    this.touch(channel);
    return isWhole;
  }

  private async readOn(channel: Channel): Promise<boolean> {
    for (let isRestored = false; ;) {
      const { last } = channel;
      if (last === undefined || this.channels.get(channel.name) !== channel) return false;
      const read = await this.store.read(channel.stream, last.offset, REPAIR_PAGE)();
      if (E.isLeft(read)) {
        this.logger.warn('feed_repair_failed', { channel: channel.name, reason: read.left.reason });
        return false;
      }
      const next = read.right[0];
      if (next === undefined) return true;
      if (next.n <= last.n && !isRestored) {
        // Counted from a lower number than was told. With the marker in the stream, it is read once more.
        if (!(await this.restore(channel, last))) return false;
        isRestored = true;
        continue;
      }
      this.tell(channel, read.right);
    }
  }

  /** Records that the stream has lost what was told up to `end`. False where that is to be tried again. */
  private async restore({ stream }: Channel, end: Cursor): Promise<boolean> {
    if (stream.kind !== 'topic') return true;
    const restored = await this.lost.restore([{ topic: stream.topic, end }]);
    // A Valkey that takes no writes must not keep us from telling what it still has.
    return (
      E.isRight(restored) ||
      (restored.left.outcome === 'not_stored' && restored.left.reason !== 'disconnected')
    );
  }

  private async checkPositions(): Promise<void> {
    this.isCheckWanted = true;
    if (this.isChecking) return;
    this.isChecking = true;
    while (this.isCheckWanted && this.connection.reads.status === 'ready') {
      this.isCheckWanted = false;
      const all = [...this.channels.values()];
      for (let i = 0; i < all.length; i += POSITION_CHECK_GROUP) {
        await Promise.all(
          all.slice(i, i + POSITION_CHECK_GROUP).map((channel) => this.checkPosition(channel)),
        );
      }
    }
    this.isChecking = false;
  }

  private async checkPosition(channel: Channel): Promise<void> {
    const before = channel.last;
    const { subscribedOn } = this;
    if (before === undefined || channel.isRepairing) return;
    const bounds = await this.store.bounds(channel.stream)();
    if (E.isLeft(bounds) || channel.last === undefined) return;
    const { last } = bounds.right;
    if (last.n < before.n || last.offset < before.offset) {
      // It had come further when we asked. From now on it ends there again, or behind it.
      if (!(await this.restore(channel, before)) || !(await this.repair(channel))) return;
    } else if (last.offset > channel.last.offset) {
      if (!(await this.repair(channel))) return;
      // What is still above us is not ours: somebody else has written into the stream.
      if (last.offset > channel.last.offset) channel.last = last;
    }
    channel.wholeOn = Math.max(channel.wholeOn, subscribedOn);
    this.touch(channel);
  }
}

const decodeRecord = (
  stream: Stream,
  text: string,
  from: number,
  end: number,
): Recorded<StoredEvent> | undefined => {
  const afterOffset = text.indexOf(FIELD_SEPARATOR, from);
  const afterN = text.indexOf(FIELD_SEPARATOR, afterOffset + 1);
  const afterMeta = text.indexOf(FIELD_SEPARATOR, afterN + 1);
  const offset = Number(text.slice(from, afterOffset));
  const n = Number(text.slice(afterOffset + 1, afterN));
  // Anybody may publish to the channel; what is not a record of ours is not told.
  if (!isPlace(offset) || !isPlace(n) || afterMeta > end) return undefined;
  const event = decodeEvent(stream, {
    meta: text.slice(afterN + 1, afterMeta),
    body: text.slice(afterMeta + 1, end),
  });
  return event === undefined ? undefined : { offset: offset as Offset, n, event };
};

const isPlace = (value: number): boolean => Number.isSafeInteger(value) && value > 0;
