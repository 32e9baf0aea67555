/**
 * EventFeed on Valkey pub/sub. The append script publishes what it stores, so a message is here one hop after it is
 * stored, at a cost that does not depend on how many topics are followed. Pub/sub is only the fast path: whatever it
 * loses shows as a missing `n`, after a reconnect or in the periodic position check, and is read from the stream.
 * What the stream itself has lost shows as an end before the place that was told last, or as an `n` that is told a
 * second time; it is recorded (lost-messages.ts) before anything is told that came after it.
 *
 * HOT PATH, budget 4 µs per event (npm run bench): text is cut, not parsed; events of one tick are told as one batch.
 * What is followed is kept small, since it may be a hundred thousand topics in which nothing happens: no closure, set or
 * place of its own for each (benchmarks/followed-topics.ts).
 */
import { either as E, type taskEither as TE } from 'fp-ts';
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
import { readEnds } from './stream-ends.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand, notSent } from './valkey-errors.js';

type OnEvents = (events: readonly Recorded<StoredEvent>[]) => void;

/** One followed stream, whoever follows it. */
interface Channel {
  readonly stream: Stream;
  readonly name: string;
  readonly opened: Promise<E.Either<StoreUnavailable, Cursor>>;
  /** Follow calls that were not stopped; with the last of them the channel goes. */
  users: number;
  /** Those who are told. Replaced and never changed, since who is told may stop. */
  followers: readonly Follower[];
  /** The last event that was told, or the stream's end when following began; undefined until then. */
  last: Cursor | undefined;
  /**
   * Told by pub/sub and not passed on yet: until following has begun, while repairing, and within one tick. Undefined
   * for none.
   */
  arrived: Recorded<StoredEvent>[] | undefined;
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
/** Ends asked for in one go. Fewer where that takes long: meanwhile Valkey serves nobody else. */
const POSITION_CHECK_GROUP = { min: 4, max: 200, slowMs: 5, quickMs: 2 };
/** Channels in one SUBSCRIBE. There may be more than a call can have arguments. */
const SUBSCRIBE_GROUP = 1_000;
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
  private checkedAtOnce = 16;
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
    channel.users += 1;
    // What a stream of its kind is told is of its kind.
    return new Follower(channel, onEvents as OnEvents, this.onUnused);
  }

  dispose(): void {
    clearInterval(this.timer);
    for (const channel of this.channels.values()) channel.followers = NOBODY;
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
      followers: NOBODY,
      last: undefined,
      arrived: undefined,
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

  private readonly onUnused = (channel: Channel): void => this.close(channel);

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
      await this.subscribeTo(open);
      return undefined;
    } catch (error) {
      const failure = fromSentCommand(error);
      if (failure.reason === 'timeout') this.connection.reset(this.connection.subscriber);
      return failure;
    }
  }

  private async subscribeTo(names: readonly string[]): Promise<void> {
    const { subscriber } = this.connection;
    const groups: Promise<unknown>[] = [];
    for (let i = 0; i < names.length; i += SUBSCRIBE_GROUP)
      groups.push(subscriber.subscribe(...names.slice(i, i + SUBSCRIBE_GROUP)));
    await Promise.all(groups);
  }

  /** A new connection: subscribes to everything again, and only then asks what was missed. */
  private async resume(): Promise<void> {
    this.connectionNumber += 1;
    const connectionNumber = this.connectionNumber;
    const names = [...this.channels.keys()];
    const { subscriber } = this.connection;
    try {
      await this.subscribeTo(names);
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
    if (channel.arrived !== undefined && channel.arrived.length > ARRIVED_MAX) channel.arrived = undefined;
    for (let from = 0; from < text.length;) {
      const end = text.indexOf(RECORD_SEPARATOR, from);
      const recorded = decodeRecord(channel.stream, text, from, end === -1 ? text.length : end);
      if (recorded !== undefined) {
        // An array that is made with its first element has room for one; one that grows to it has room for seventeen.
        if (channel.arrived === undefined) channel.arrived = [recorded];
        else channel.arrived.push(recorded);
      }
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
    const { last, arrived } = channel;
    if (last === undefined || arrived === undefined || channel.isRepairing) return;
    if (channel.wholeOn !== this.connectionNumber) return;
    channel.arrived = undefined;
    const broken = firstBroken(arrived, last);
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
    for (const follower of channel.followers) follower.tell(fresh);
  }

  /**
   * Reads what pub/sub has not told. What is still missing afterwards, of what had arrived before, is gone. Answers
   * whether the end was reached.
   */
  private async repair(channel: Channel): Promise<boolean> {
    if (channel.isRepairing || channel.last === undefined) return false;
    channel.isRepairing = true;
    const arrivedBefore = channel.arrived ?? [];
    channel.arrived = undefined;
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
      for (let i = 0; i < all.length;) {
        const group = all.slice(i, i + this.checkedAtOnce);
        i += group.length;
        await this.checkGroup(group);
      }
    }
    this.isChecking = false;
  }

  private async checkGroup(group: readonly Channel[]): Promise<void> {
    const checked = group.filter(({ last, isRepairing }) => last !== undefined && !isRepairing);
    if (checked.length === 0) return;
    const before = checked.map(({ last }) => last);
    const { subscribedOn } = this;
    const askedAt = performance.now();
    const ends = await readEnds(
      this.connection,
      checked.map(({ stream }) => this.names.key(stream)),
    );
    this.adaptCheck(performance.now() - askedAt);
    if (E.isLeft(ends)) return;
    const suspects: Promise<void>[] = [];
    for (const [i, channel] of checked.entries()) {
      if (isAt(channel, before[i], ends.right[i])) this.onChecked(channel, subscribedOn);
      else suspects.push(this.checkPosition(channel, before[i], ends.right[i], subscribedOn));
    }
    await Promise.all(suspects);
  }

  /** What a group costs depends on how large the messages are: Valkey looks at the first and the last of each topic. */
  private adaptCheck(tookMs: number): void {
    const { min, max, slowMs, quickMs } = POSITION_CHECK_GROUP;
    if (tookMs > slowMs) this.checkedAtOnce = Math.max(min, Math.floor(this.checkedAtOnce / 2));
    else if (tookMs < quickMs) this.checkedAtOnce = Math.min(max, this.checkedAtOnce * 2);
  }

  /** `before` is where the channel was when it was asked where its stream ends, which is at `end`. */
  private async checkPosition(
    channel: Channel,
    before: Cursor | undefined,
    end: Cursor | undefined,
    subscribedOn: number,
  ): Promise<void> {
    if (end === undefined) this.logger.warn('feed_check_failed', { channel: channel.name });
    if (before === undefined || end === undefined || channel.last === undefined) return;
    if (end.n < before.n || end.offset < before.offset) {
      // It had come further when we asked. From now on it ends there again, or behind it.
      if (!(await this.restore(channel, before)) || !(await this.repair(channel))) return;
    } else if (end.offset > channel.last.offset) {
      if (!(await this.repair(channel))) return;
      // What is still above us is not ours: somebody else has written into the stream.
      if (end.offset > channel.last.offset) channel.last = end;
    }
    this.onChecked(channel, subscribedOn);
  }

  private onChecked(channel: Channel, subscribedOn: number): void {
    channel.wholeOn = Math.max(channel.wholeOn, subscribedOn);
    if (channel.arrived !== undefined) this.touch(channel);
  }
}

/** One who follows a channel. */
class Follower implements Following {
  private readonly started: Promise<E.Either<StoreUnavailable, Cursor>>;
  private isStopped = false;

  constructor(
    private readonly channel: Channel,
    private readonly onEvents: OnEvents,
    private readonly onUnused: (channel: Channel) => void,
  ) {
    this.started = channel.opened.then((opened) => {
      if (E.isLeft(opened) || this.isStopped) return opened;
      // From this moment on it is told what all are told; everything up to `last` it has to read for itself.
      channel.followers = [...channel.followers, this];
      return channel.last === undefined || channel.last === opened.right ? opened : E.right(channel.last);
    });
  }

  get start(): TE.TaskEither<StoreUnavailable, Cursor> {
    return () => this.started;
  }

  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    const { channel } = this;
    channel.followers = channel.followers.filter((follower) => follower !== this);
    channel.users -= 1;
    if (channel.users === 0) this.onUnused(channel);
  }

  tell(events: readonly Recorded<StoredEvent>[]): void {
    if (!this.isStopped) this.onEvents(events);
  }
}

const NOBODY: readonly Follower[] = [];

/** The first of the events that does not come right behind the one before it; -1 where all do. What is old is passed over. */
const firstBroken = (
  events: readonly Recorded<StoredEvent>[],
  { offset: last, n: lastN }: Cursor,
): number => {
  let n = lastN;
  for (let i = 0; i < events.length; i++) {
    const recorded = events[i];
    if (recorded === undefined || recorded.offset <= last) continue;
    n += 1;
    if (recorded.n !== n) return i;
  }
  return -1;
};

/** Has nothing happened: does the stream end where the channel was and is? */
const isAt = ({ last }: Channel, before: Cursor | undefined, end: Cursor | undefined): boolean =>
  last === before && end?.offset === last?.offset && end?.n === last?.n;

const decodeRecord = (
  stream: Stream,
  text: string,
  from: number,
  end: number,
): Recorded<StoredEvent> | undefined => {
  const afterOffset = text.indexOf(FIELD_SEPARATOR, from);
  const afterN = text.indexOf(FIELD_SEPARATOR, afterOffset + 1);
  const afterMeta = text.indexOf(FIELD_SEPARATOR, afterN + 1);
  const offset = placeAt(text, from, afterOffset);
  const n = placeAt(text, afterOffset + 1, afterN);
  // Anybody may publish to the channel; what is not a record of ours is not told.
  if (offset === undefined || n === undefined || afterMeta === -1 || afterMeta > end) return undefined;
  const event = decodeEvent(stream, {
    meta: text.slice(afterN + 1, afterMeta),
    body: text.slice(afterMeta + 1, end),
  });
  return event === undefined ? undefined : { offset: offset as Offset, n, event };
};

const DIGIT_0 = 48;

/** The number above 0 that is written from `start` to `end`, read digit by digit: a text cut out for it costs more. */
const placeAt = (text: string, start: number, end: number): number | undefined => {
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = text.charCodeAt(i) - DIGIT_0;
    if (!(digit >= 0 && digit <= 9)) return undefined;
    value = value * 10 + digit;
  }
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
};
