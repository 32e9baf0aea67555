/**
 * What every EventFeed promises, whatever it is made of. An adapter's test file opens the adapter with its store and
 * calls `describeEventFeed`. What a feed does when its store fails is tested with the adapter that can fail.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { EventFeed, Following } from '../../application/ports/event-feed.js';
import {
  CATALOGUE,
  topicStream,
  type EventStore,
  type StoredEvent,
  type Stream,
} from '../../application/ports/event-store.js';
import { BEGINNING, type Cursor, type Recorded } from '../../domain/message/offset.js';
import type { TopicEvent } from '../../domain/topic/topic-events.js';
import { aTopic, messages } from '../support/builders.js';
import { eventually } from '../support/eventually.js';
import { right } from '../support/task-either.js';

export interface OpenedFeed {
  readonly store: EventStore;
  readonly feed: EventFeed;
  close(): Promise<void>;
}

/** Opens a feed over an empty store that nobody else uses. */
export type OpenEventFeed = () => Promise<OpenedFeed>;

/** Everything that one follower was told. */
interface Record<Event> {
  readonly following: Following;
  readonly batches: (readonly Recorded<Event>[])[];
  told(): readonly Recorded<Event>[];
}

export const describeEventFeed = (name: string, open: OpenEventFeed): void => {
  describe(`${name} is an EventFeed`, () => {
    let opened: OpenedFeed;
    const orders = topicStream(aTopic('orders'));

    beforeEach(async () => (opened = await open()));
    afterEach(() => opened.close());

    const append = (count: number, from = 1, stream: Stream<TopicEvent> = orders) =>
      right(opened.store.append(stream, messages(count, from)));

    const follow = <Event extends StoredEvent>(stream: Stream<Event>): Record<Event> => {
      const batches: (readonly Recorded<Event>[])[] = [];
      const following = opened.feed.follow(stream, (events) => batches.push(events));
      return { following, batches, told: () => batches.flat() };
    };

    const numbers = (record: Record<StoredEvent>): readonly number[] => record.told().map(({ n }) => n);

    it('begins at the end of the stream: what is there already is not told', async () => {
      const cursors = await append(5);
      const record = follow(orders);
      expect(await right(record.following.start)).to.deep.equal(cursors[4]);
      await append(1, 6);
      await eventually(() => expect(numbers(record)).to.deep.equal([6]));
    });

    it('begins at the beginning of a stream that was never written', async () => {
      const record = follow(orders);
      expect(await right(record.following.start)).to.deep.equal(BEGINNING);
      await append(2);
      await eventually(() => expect(numbers(record)).to.deep.equal([1, 2]));
    });

    it('answers the same start to everybody who asks for it', async () => {
      await append(1);
      const { following } = follow(orders);
      const first = await right(following.start);
      await append(1);
      expect(await right(following.start)).to.deep.equal(first);
    });

    it('tells what the store has recorded, complete and in order', async () => {
      const record = follow(orders);
      await right(record.following.start);
      for (let i = 0; i < 20; i++) await append(1 + (i % 7), i * 10);
      const stored = await right(opened.store.read(orders, BEGINNING.offset, 1000));
      await eventually(() => expect(record.told()).to.have.length(stored.length));
      expect(record.told()).to.deep.equal(stored);
    });

    it('tells each event once, when many append at the same time', async () => {
      const record = follow(orders);
      await right(record.following.start);
      await Promise.all(range(1, 200).map((i) => append(1 + (i % 3), i)));
      const { last } = await right(opened.store.bounds(orders));
      await eventually(() => expect(record.told()).to.have.length(last.n));
      expect(numbers(record)).to.deep.equal(range(1, last.n));
    });

    it('loses nothing that is appended while following begins', async () => {
      const traffic = { isOver: false };
      const appending = (async () => {
        for (let from = 1; !traffic.isOver; from += 3) {
          await Promise.all([append(1, from), append(2, from + 1)]);
          // A store that answers at once would otherwise leave nobody else a turn.
          await delay(0);
        }
      })();
      const records: { readonly record: Record<TopicEvent>; readonly start: Cursor }[] = [];
      for (let i = 0; i < 20; i++) {
        const record = follow(orders);
        records.push({ record, start: await right(record.following.start) });
        await delay(1);
      }
      traffic.isOver = true;
      await appending;
      const { last } = await right(opened.store.bounds(orders));
      for (const { record, start } of records) {
        await eventually(() => expect(numbers(record)).to.deep.equal(range(start.n + 1, last.n)));
      }
    });

    it('does not tell a new follower what an older one has still to be told', async () => {
      const older = follow(orders);
      await right(older.following.start);
      const appending = append(2);
      const newer = follow(orders);
      const start = await right(newer.following.start);
      await appending;
      await append(1);
      await eventually(() => expect(numbers(older)).to.deep.equal([1, 2, 3]));
      await eventually(() => expect(numbers(newer)).to.deep.equal(range(start.n + 1, 3)));
    });

    it('tells the events of one append, and of appends in one tick, as one batch', async () => {
      const record = follow(orders);
      await right(record.following.start);
      await append(50);
      await eventually(() => expect(record.told()).to.have.length(50));
      expect(record.batches).to.have.length(1);
      await Promise.all(range(1, 50).map((i) => append(1, i)));
      await eventually(() => expect(record.told()).to.have.length(100));
      // A pipeline may reach the store in two pieces, never one by one.
      expect(record.batches.length).to.be.below(1 + 10);
    });

    it('tells every follower of a stream, each from its own start', async () => {
      const early = follow(orders);
      await right(early.following.start);
      await append(3);
      await eventually(() => expect(numbers(early)).to.deep.equal([1, 2, 3]));
      const late = follow(orders);
      expect(await right(late.following.start)).to.include({ n: 3 });
      await append(2);
      await eventually(() => expect(numbers(early)).to.deep.equal([1, 2, 3, 4, 5]));
      await eventually(() => expect(numbers(late)).to.deep.equal([4, 5]));
    });

    it('tells nothing after stop, and goes on telling the others', async () => {
      const stopped = follow(orders);
      const other = follow(orders);
      await right(stopped.following.start);
      await right(other.following.start);
      const appending = append(1);
      stopped.following.stop();
      await appending;
      stopped.following.stop();
      await append(1);
      await eventually(() => expect(numbers(other)).to.deep.equal([1, 2]));
      expect(stopped.told()).to.deep.equal([]);
    });

    it('can be stopped from within a batch', async () => {
      const told: number[] = [];
      const following = opened.feed.follow(orders, (events) => {
        told.push(...events.map(({ n }) => n));
        following.stop();
      });
      const other = follow(orders);
      await right(following.start);
      await right(other.following.start);
      await append(1);
      await eventually(() => expect(numbers(other)).to.deep.equal([1]));
      await append(1);
      await eventually(() => expect(numbers(other)).to.deep.equal([1, 2]));
      expect(told).to.deep.equal([1]);
    });

    it('can be stopped before following has begun', async () => {
      const record = follow(orders);
      record.following.stop();
      await record.following.start();
      await append(1);
      const other = follow(orders);
      await right(other.following.start);
      await append(1);
      await eventually(() => expect(numbers(other)).to.deep.equal([2]));
      expect(record.told()).to.deep.equal([]);
    });

    it('follows again what was stopped, from the end as it is then', async () => {
      const before = follow(orders);
      await right(before.following.start);
      before.following.stop();
      await append(3);
      const again = follow(orders);
      expect(await right(again.following.start)).to.include({ n: 3 });
      await append(1);
      await eventually(() => expect(numbers(again)).to.deep.equal([4]));
    });

    it('tells of topics that come into being, by following the catalogue', async () => {
      await append(1, 1, topicStream(aTopic('old')));
      const record = follow(CATALOGUE);
      await right(record.following.start);
      await append(2, 1, topicStream(aTopic('new.one')));
      await append(2, 1, topicStream(aTopic('old')));
      await append(2, 1, topicStream(aTopic('new.two')));
      await eventually(() =>
        expect(record.told().map(({ event }) => event.topic)).to.deep.equal(['new.one', 'new.two']),
      );
    });

    it('tells that messages were lost, in its place among the others', async () => {
      const record = follow(orders);
      await right(record.following.start);
      const events = [
        ...messages(2),
        { type: 'MessagesLost', reason: 'storage_rollback' } as const,
        ...messages(2, 3),
      ];
      for (const event of events) await right(opened.store.append(orders, [event]));
      await eventually(() => expect(record.told().map(({ event }) => event)).to.deep.equal(events));
      expect(numbers(record)).to.deep.equal([1, 2, 3, 4, 5]);
    });

    it('follows hundreds of topics and keeps them apart', async () => {
      const topics = range(1, 200).map((i) => topicStream(aTopic(`many.${i}`)));
      const records = topics.map((topic) => follow(topic));
      await Promise.all(records.map(({ following }) => right(following.start)));
      await Promise.all(topics.map((topic, i) => append(3, i * 1000, topic)));
      await eventually(() => records.forEach((record) => expect(numbers(record)).to.deep.equal([1, 2, 3])));
      records.forEach((record, i) =>
        expect(record.told().map(({ event }) => event)).to.deep.equal(messages(3, i * 1000)),
      );
    });
  });
};

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: Math.max(to - from + 1, 0) }, (_, i) => from + i);
