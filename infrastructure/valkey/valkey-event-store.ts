/**
 * EventStore on Valkey Streams: one script for every append, XRANGE for reads. Holds no events itself. Appends that are
 * to be on the disk before they are answered go over a connection of their own: nobody else waits for the disk.
 * Keys, entry fields and channels: docs/storage.md.
 */
import type { taskEither as TE } from 'fp-ts';
import { either as E } from 'fp-ts';
import type {
  AppendOptions,
  Bounds,
  Durability,
  EventStore,
  OnceItem,
  OnceOutcome,
  RetentionSettings,
  StoredEvent,
  StoreUnavailable,
  Stream,
  VersionConflict,
} from '../../application/ports/event-store.js';
import { CATALOGUE, topicIdleMs } from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import {
  BEGINNING,
  formatOffset,
  parseOffset,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../domain/message/offset.js';
import { AppendQueue, type Append, type AppendAnswer, type Replied } from './append-queue.js';
import type { KeyNames } from './keys.js';
import type { LostMessages } from './lost-messages.js';
import { bodyField, decodeEvent, encodeEvent, textsOf } from './recorded-event-codec.js';
import {
  APPEND,
  APPEND_ONCE,
  APPEND_TO_SUBSCRIPTION,
  BOUNDS,
  ONCE_DUPLICATE,
  ONCE_STORED,
} from './scripts.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand, notSent } from './valkey-errors.js';

/** An entry of XRANGE: its id, and its fields and values in turn. */
type Entry = readonly [id: string, fields: readonly string[]];

const WARNING_INTERVAL_MS = 10_000;

export class ValkeyEventStore implements EventStore {
  private readonly queue: AppendQueue;
  private readonly durableQueue: AppendQueue;
  private warnAgainAt = 0;
  /** Arguments that are the same for every stream of a kind. */
  private readonly fixed: {
    readonly topicIdle: string;
    readonly subscriptionIdle: string;
    readonly messagesMax: string;
    readonly messagesAge: string;
    readonly catalogueChannel: string;
  };

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly names: KeyNames,
    retention: RetentionSettings,
    private readonly lost: LostMessages,
    private readonly logger: Logger,
  ) {
    this.fixed = {
      topicIdle: String(topicIdleMs(retention)),
      subscriptionIdle: String(retention.subscriptionMs),
      messagesMax: String(retention.messagesPerTopicMax),
      messagesAge: String(retention.messagesMs),
      catalogueChannel: names.channel(CATALOGUE),
    };
    this.queue = new AppendQueue(connection, connection.commands, { isDurable: false });
    this.durableQueue = new AppendQueue(connection, connection.durable, { isDurable: true });
  }

  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    options: AppendOptions = {},
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    return async () => {
      const answer = await this.push(this.toAppend(stream, events, options.expected), options.durability);
      if (answer._tag === 'StoreUnavailable') return E.left(answer);
      this.warnOf(stream, answer);
      const appended = toAppended(answer, events.length);
      if (E.isRight(appended)) this.remember(stream, appended.right);
      return appended;
    };
  }

  appendOnce<Event extends StoredEvent>(
    stream: Stream<Event>,
    items: readonly OnceItem<Event>[],
    { durability = 'stored' }: Pick<AppendOptions, 'durability'> = {},
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]> {
    return async () => {
      const answer = await this.push(this.toAppendOnce(stream, items, durability), durability);
      if (answer._tag === 'StoreUnavailable') return E.left(answer);
      this.warnOf(stream, answer);
      const outcomes = toOutcomes(answer, items.length);
      this.remember(
        stream,
        outcomes.flatMap((outcome) => (outcome._tag === 'Stored' ? [outcome.at] : [])),
      );
      return E.right(outcomes);
    };
  }

  read<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): TE.TaskEither<StoreUnavailable, readonly Recorded<Event>[]> {
    return this.readTask(async (client) => {
      const key = this.names.key(stream);
      for (let from = formatOffset(after); ;) {
        const entries = await client.xrange(key, `(${from}`, '+', 'COUNT', limit);
        const recorded = this.toRecorded(stream, entries);
        const last = entries[entries.length - 1];
        // A page of nothing but foreign entries is not the end, though an empty answer would say that it is.
        if (last === undefined || recorded.length > 0 || entries.length < limit) return recorded;
        [from] = last;
      }
    });
  }

  peek(): undefined {
    return undefined;
  }

  bounds(stream: Stream): TE.TaskEither<StoreUnavailable, Bounds> {
    return this.readTask(async (client) =>
      toBounds(await this.connection.run(client, BOUNDS, [this.names.key(stream)], [])),
    );
  }

  trim(stream: Stream, below: Offset): TE.TaskEither<StoreUnavailable, void> {
    return this.readTask(async (client) => {
      await client.xtrim(this.names.key(stream), 'MINID', formatOffset(below));
    });
  }

  /** Commands: https://valkey.io/commands/xdel/ (an entry's place is not given again). */
  remove(stream: Stream, offsets: readonly Offset[]): TE.TaskEither<StoreUnavailable, number> {
    return this.readTask((client) =>
      offsets.length === 0
        ? Promise.resolve(0)
        : client.xdel(this.names.key(stream), ...offsets.map(formatOffset)),
    );
  }

  /** Stored, and something that belongs to it was not done: it would be said with every message. */
  private warnOf(stream: Stream, { reply }: Replied): void {
    const failure = reply[reply.length - 1];
    if (typeof failure !== 'string' || performance.now() < this.warnAgainAt) return;
    this.warnAgainAt = performance.now() + WARNING_INTERVAL_MS;
    this.logger.warn('valkey_append_incomplete', { key: this.names.key(stream), failure });
  }

  /** What an append was answered with is known to have been stored, whatever Valkey may forget. */
  private remember(stream: Stream, places: readonly Cursor[]): void {
    const first = places[0];
    const last = places[places.length - 1];
    if (stream.kind === 'topic' && first !== undefined && last !== undefined)
      this.lost.appended(stream.topic, first, last);
  }

  private readTask<A>(
    run: (client: ValkeyConnection['reads']) => Promise<A>,
  ): TE.TaskEither<StoreUnavailable, A> {
    return async () => {
      const client = this.connection.reads;
      if (client.status !== 'ready') return E.left(notSent('disconnected'));
      try {
        return E.right(await run(client));
      } catch (error) {
        const failure = fromSentCommand(error);
        if (failure.reason === 'timeout') this.connection.reset(client);
        return E.left(failure);
      }
    };
  }

  private push(append: Append, durability: Durability = 'stored'): Promise<AppendAnswer> {
    const isUnsynced =
      durability === 'stored' || (durability === 'fsync_if_logged' && !this.connection.logsToDisk);
    if (isUnsynced) return this.queue.push(append);
    return this.connection.logsToDisk
      ? this.durableQueue.push(append)
      : Promise.resolve(notSent('not_durable'));
  }

  private toAppend(stream: Stream, events: readonly StoredEvent[], expected: Cursor | undefined): Append {
    const texts: string[] = [];
    for (const event of events) {
      const { body, meta } = encodeEvent(event);
      texts.push(body, meta);
    }
    return {
      // A new one asks for room as a message does: there may be any number of them.
      script: stream.kind === 'subscription' && (expected?.n ?? 0) > 0 ? APPEND_TO_SUBSCRIPTION : APPEND,
      keys: this.keysOf(stream),
      args: () => this.argsOf(stream, expected),
      isShareable: expected === undefined,
      texts,
      eventCount: events.length,
    };
  }

  private toAppendOnce(
    stream: Stream,
    items: readonly OnceItem<StoredEvent>[],
    durability: Durability,
  ): Append {
    const streamKeys = this.keysOf(stream);
    const recordKeys: string[] = [];
    const texts: string[] = [];
    for (const { event, once } of items) {
      const { body, meta } = encodeEvent(event);
      texts.push(body, meta);
      if (once === undefined) texts.push('', '', '');
      else {
        recordKeys.push(this.names.idempotency(once.key));
        // Lua counts from 1. The window is a whole number of ms that is not 0, or it would be refused.
        const place = streamKeys.length + recordKeys.length;
        texts.push(String(place), once.fingerprint, String(Math.max(1, Math.ceil(once.windowMs))));
      }
    }
    return {
      script: APPEND_ONCE,
      keys: [...streamKeys, ...recordKeys],
      args: () => [...this.argsOf(stream, undefined), durability === 'fsync' ? '1' : ''],
      isShareable: false,
      texts,
      eventCount: items.length,
    };
  }

  private keysOf(stream: Stream): Append['keys'] {
    const key = this.names.key(stream);
    return stream.kind === 'topic' ? [key, this.names.key(CATALOGUE)] : [key];
  }

  /** The fixed arguments that both scripts begin with. */
  private argsOf(stream: Stream, expected: Cursor | undefined): readonly string[] {
    const end = expected === undefined ? '' : `${expected.offset} ${expected.n}`;
    const field = bodyField(stream);
    if (stream.kind === 'topic') {
      const { topicIdle, messagesMax, messagesAge, catalogueChannel } = this.fixed;
      const created = encodeEvent({ type: 'TopicCreated', topic: stream.topic }).body;
      const channel = this.names.channel(stream);
      return [end, channel, field, topicIdle, messagesMax, messagesAge, catalogueChannel, created];
    }
    return stream.kind === 'subscription'
      ? [end, '', field, this.fixed.subscriptionIdle, '', '', '', '']
      : [end, this.names.channel(stream), field, '', '', '', '', ''];
  }

  private toRecorded<Event extends StoredEvent>(
    stream: Stream<Event>,
    entries: readonly Entry[],
  ): readonly Recorded<Event>[] {
    const recorded: Recorded<Event>[] = [];
    for (const [id, fields] of entries) {
      const event = fromEntry(stream, id, fields);
      // Not ours. Its place in `n` stays empty, so subscribers are told of a gap instead of being stopped.
      if (event === undefined) this.logger.warn('valkey_foreign_entry', { key: this.names.key(stream), id });
      else recorded.push(event);
    }
    return recorded;
  }
}

const fromEntry = <Event extends StoredEvent>(
  stream: Stream<Event>,
  id: string,
  fields: readonly string[],
): Recorded<Event> | undefined => {
  const offset = parseOffset(id);
  const field = (name: string): string | undefined => {
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
    return undefined;
  };
  const n = Number(field('n'));
  const texts = textsOf(stream, field);
  if (E.isLeft(offset) || texts === undefined || !Number.isSafeInteger(n)) return undefined;
  const event = decodeEvent(stream, texts);
  return event === undefined ? undefined : { offset: offset.right, n, event: event as Event };
};

const place = (offset: unknown, n: unknown): Cursor => ({
  offset: (offset ?? 0) as Offset,
  n: (n ?? 0) as number,
});

const toAppended = (
  { reply: [stored, offset = 0, n = 0], eventsBefore }: Replied,
  count: number,
): E.Either<VersionConflict, readonly Cursor[]> =>
  stored === 1
    ? E.right(
        Array.from({ length: count }, (_, i) =>
          place(Number(offset) + eventsBefore + i, Number(n) + eventsBefore + i),
        ),
      )
    : E.left({ _tag: 'VersionConflict', actual: place(offset, n) });

/** Three numbers for each item, behind the first. */
const toOutcomes = ({ reply }: Replied, count: number): readonly OnceOutcome[] =>
  Array.from({ length: count }, (_, i): OnceOutcome => {
    const at = place(reply[3 * i + 2], reply[3 * i + 3]);
    switch (reply[3 * i + 1]) {
      case ONCE_STORED:
        return { _tag: 'Stored', at };
      case ONCE_DUPLICATE:
        return { _tag: 'Duplicate', at };
      default:
        return { _tag: 'KeyReused' };
    }
  });

const toBounds = (reply: unknown): Bounds => {
  const [lastOffset, lastN, firstOffset, firstN] = reply as readonly number[];
  if (lastOffset === undefined || lastN === undefined) return { first: BEGINNING, last: BEGINNING };
  const last = { offset: lastOffset as Offset, n: lastN };
  return firstOffset === undefined || firstN === undefined
    ? { first: last, last }
    : { first: { offset: (firstOffset - 1) as Offset, n: firstN - 1 }, last };
};
