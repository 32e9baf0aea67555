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
import { CATALOGUE, topicIdleMs, topicStream } from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import {
  BEGINNING,
  formatOffset,
  parseOffset,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../domain/message/offset.js';
import {
  AppendQueue,
  type Append,
  type AppendAnswer,
  type AppendKind,
  type Replied,
  type StreamAppend,
  type WholeCall,
} from './append-queue.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
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
  REPLIES_PER_STREAM,
  STORED,
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
  private readonly kinds: AppendKinds;

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly names: KeyNames,
    retention: RetentionSettings,
    private readonly lost: LostMessages,
    private readonly logger: Logger,
  ) {
    this.kinds = kindsOf(names, retention);
    this.queue = new AppendQueue(connection, connection.commands, { isDurable: false });
    this.durableQueue = new AppendQueue(connection, connection.durable, { isDurable: true });
  }

  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    options: AppendOptions = {},
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    return () =>
      this.push(this.toAppend(stream, events, options.expected), options.durability).then((answer) =>
        this.onAnswer(stream, events.length, answer),
      );
  }

  appendOnce<Event extends StoredEvent>(
    stream: Stream<Event>,
    items: readonly OnceItem<Event>[],
    { durability = 'stored' }: Pick<AppendOptions, 'durability'> = {},
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]> {
    return async () => {
      const answer = await this.push(this.toAppendOnce(stream, items, durability), durability);
      if (answer._tag === 'StoreUnavailable') return E.left(answer);
      this.warnOf(stream, answer.reply[answer.reply.length - 1]);
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

  private onAnswer(
    stream: Stream,
    count: number,
    answer: AppendAnswer,
  ): E.Either<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    if (answer._tag === 'StoreUnavailable') return E.left(answer);
    this.warnOf(stream, answer.reply[answer.at + REPLIES_PER_STREAM - 1]);
    const appended = toAppended(answer, count);
    if (E.isRight(appended)) this.remember(stream, appended.right);
    return appended;
  }

  /** Stored, and something that belongs to it was not done: it would be said with every message. */
  private warnOf(stream: Stream, failure: Replied['reply'][number] | undefined): void {
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

  private toAppend(
    stream: Stream,
    events: readonly StoredEvent[],
    expected: Cursor | undefined,
  ): StreamAppend {
    // A new journal asks for room as a message does: there may be any number of them.
    const isNew = stream.kind === 'subscription' && (expected?.n ?? 0) === 0;
    return {
      kind: isNew ? this.kinds.newSubscription : this.kinds[stream.kind],
      key: this.names.key(stream),
      expected: expected === undefined ? '' : `${expected.offset} ${expected.n}`,
      texts: encoded(events),
      eventCount: events.length,
    };
  }

  private toAppendOnce(
    stream: Stream,
    items: readonly OnceItem<StoredEvent>[],
    durability: Durability,
  ): WholeCall {
    const kind = this.kinds[stream.kind];
    const keys = [...kind.keys, this.names.key(stream)];
    const texts: string[] = [];
    for (const { event, once } of items) {
      const { body, meta } = encodeEvent(event);
      texts.push(body, meta);
      if (once === undefined) texts.push('', '', '');
      else {
        keys.push(this.names.idempotency(once.key));
        // Lua counts from 1. The window is a whole number of ms that is not 0, or it would be refused.
        texts.push(String(keys.length), once.fingerprint, String(Math.max(1, Math.ceil(once.windowMs))));
      }
    }
    return {
      script: APPEND_ONCE,
      keys,
      args: [...kind.args, durability === 'fsync' ? '1' : ''],
      texts,
      eventCount: items.length,
    };
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

/** A body and a meta text for each. One event mostly, and an array that grows to two texts has room for seventeen. */
const encoded = (events: readonly StoredEvent[]): readonly string[] => {
  const [first] = events;
  if (first !== undefined && events.length === 1) {
    const { body, meta } = encodeEvent(first);
    return [body, meta];
  }
  const texts: string[] = [];
  for (const event of events) {
    const { body, meta } = encodeEvent(event);
    texts.push(body, meta);
  }
  return texts;
};

/** Of a topic the oldest and the newest message are looked at, of a journal its newest event: small, mostly. */
const TOPICS_IN_CALL_MAX = 32;
const JOURNALS_IN_CALL_MAX = 100;

type AppendKinds = Readonly<Record<Stream['kind'] | 'newSubscription', AppendKind>>;

const kindsOf = (names: KeyNames, retention: RetentionSettings): AppendKinds => {
  // Behind the key of a stream, and in front of a topic's name in one.
  const channelEnd = names.channel(CATALOGUE).slice(names.key(CATALOGUE).length);
  const anyTopic = topicStream('' as TopicName);
  const keys = [names.key(CATALOGUE)];
  const unlisted = ['', '', ''];
  const idle = String(retention.subscriptionMs);
  const journal = {
    keys,
    streamsMax: JOURNALS_IN_CALL_MAX,
    args: [bodyField(CATALOGUE), '', idle, '', '', ...unlisted],
  };
  return {
    topic: {
      script: APPEND,
      keys,
      streamsMax: TOPICS_IN_CALL_MAX,
      args: [
        bodyField(anyTopic),
        channelEnd,
        String(topicIdleMs(retention)),
        String(retention.messagesPerTopicMax),
        String(retention.messagesMs),
        names.channel(CATALOGUE),
        names.key(anyTopic),
        encodeEvent({ type: 'TopicCreated', topic: '%s' as TopicName }).body,
      ],
    },
    newSubscription: { script: APPEND, ...journal },
    subscription: { script: APPEND_TO_SUBSCRIPTION, ...journal },
    catalogue: {
      script: APPEND,
      keys,
      streamsMax: 1,
      args: [bodyField(CATALOGUE), channelEnd, '', '', '', ...unlisted],
    },
  };
};

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
  { reply, at, eventsBefore }: Replied,
  count: number,
): E.Either<VersionConflict, readonly Cursor[]> => {
  const offset = reply[at + 1] as Offset;
  const n = reply[at + 2] as number;
  if (reply[at] !== STORED) return E.left({ _tag: 'VersionConflict', actual: { offset, n } });
  // Made with its first element: there mostly is no other.
  const places: Cursor[] = [{ offset: (offset + eventsBefore) as Offset, n: n + eventsBefore }];
  for (let i = eventsBefore + 1; i < eventsBefore + count; i++) {
    places.push({ offset: (offset + i) as Offset, n: n + i });
  }
  return E.right(places);
};

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
