/**
 * EventStore on Valkey Streams: one script for every append, XRANGE for reads. Holds no events itself.
 * Keys, entry fields and channels: docs/storage.md.
 */
import type { taskEither as TE } from 'fp-ts';
import { either as E } from 'fp-ts';
import type {
  AppendOptions,
  Bounds,
  EventStore,
  RetentionSettings,
  StoredEvent,
  StoreUnavailable,
  Stream,
  VersionConflict,
} from '../../application/ports/event-store.js';
import { CATALOGUE } from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import {
  BEGINNING,
  formatOffset,
  parseOffset,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../domain/message/offset.js';
import { AppendQueue, type Append } from './append-queue.js';
import type { KeyNames } from './keys.js';
import { bodyField, decodeEvent, encodeEvent } from './recorded-event-codec.js';
import { BOUNDS } from './scripts.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand, notSent } from './valkey-errors.js';

/** An entry of XRANGE: its id, and its fields and values in turn. */
type Entry = readonly [id: string, fields: readonly string[]];

export class ValkeyEventStore implements EventStore {
  private readonly queue: AppendQueue;

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly names: KeyNames,
    private readonly retention: RetentionSettings,
    private readonly logger: Logger,
  ) {
    this.queue = new AppendQueue(connection);
  }

  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    options: AppendOptions = {},
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    return async () => {
      const answer = await this.queue.push(this.toAppend(stream, events, options.expected));
      switch (answer._tag) {
        case 'Stored':
          return E.right(
            events.map((_, i) => ({ offset: (answer.firstOffset + i) as Offset, n: answer.firstN + i })),
          );
        case 'Conflict':
          return E.left({ _tag: 'VersionConflict', actual: answer.actual });
        case 'StoreUnavailable':
          return E.left(answer);
      }
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

  private toAppend(stream: Stream, events: readonly StoredEvent[], expected: number | undefined): Append {
    const { messagesMs, subscriptionMs, messagesPerTopicMax } = this.retention;
    const isTopic = stream.kind === 'topic';
    const key = this.names.key(stream);
    // A topic outlives its last message by as long as any subscription may still ask for what followed it.
    const idleMs = isTopic ? messagesMs + subscriptionMs : subscriptionMs;
    return {
      keys: isTopic ? [key, this.names.key(CATALOGUE)] : [key],
      args: [
        expected === undefined ? '' : String(expected),
        stream.kind === 'subscription' ? '' : this.names.channel(stream),
        bodyField(stream),
        stream.kind === 'catalogue' ? '' : String(idleMs),
        isTopic ? String(messagesPerTopicMax) : '',
        isTopic ? String(messagesMs) : '',
        isTopic ? this.names.channel(CATALOGUE) : '',
        isTopic ? encodeEvent({ type: 'TopicCreated', topic: stream.topic }).body : '',
      ],
      ...(expected === undefined ? { shareable: key } : {}),
      events: events.map(encodeEvent),
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
  const body = field(bodyField(stream));
  if (E.isLeft(offset) || body === undefined || !Number.isSafeInteger(n)) return undefined;
  const event = decodeEvent(stream, { body, meta: field('meta') ?? '' });
  return event === undefined ? undefined : { offset: offset.right, n, event: event as Event };
};

const toBounds = (reply: unknown): Bounds => {
  const [lastOffset, lastN, firstOffset, firstN] = reply as readonly number[];
  if (lastOffset === undefined || lastN === undefined) return { first: BEGINNING, last: BEGINNING };
  const last = { offset: lastOffset as Offset, n: lastN };
  return firstOffset === undefined || firstN === undefined
    ? { first: last, last }
    : { first: { offset: (firstOffset - 1) as Offset, n: firstN - 1 }, last };
};
