/**
 * What every EventStore promises, whatever it is made of. An adapter's test file opens the adapter and calls
 * `describeEventStore`. Three parts stand in files of their own: event-store-version.contract.ts, who wins when two
 * append; event-store-once.contract.ts, what is stored once however often it is sent; event-store-content.contract.ts,
 * what events look like when they come back.
 */
import { expect } from 'chai';
import type { EventStore, StoredEvent, Stream } from '../../application/ports/event-store.js';
import { CATALOGUE, subscriptionStream, topicStream } from '../../application/ports/event-store.js';
import {
  BEGINNING,
  NO_OFFSET,
  instantOf,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../domain/message/offset.js';
import type { TopicEvent } from '../../domain/topic/topic-events.js';
import { aMessage, anIdentity, aTopic, messages, someRetention } from '../support/builders.js';
import { payloadOf } from '../support/payload-of.js';
import { right } from '../support/task-either.js';
import { describeContent } from './event-store-content.contract.js';
import { describeOnce } from './event-store-once.contract.js';
import { describeVersions } from './event-store-version.contract.js';
import type { OpenedStore, OpenEventStore } from './opened-store.js';

/** How far above the wanted count a store may let a topic grow: whole blocks are cheaper to trim than entries. */
const BLOCK_MAX = 200;

export const describeEventStore = (name: string, open: OpenEventStore): void => {
  describe(`${name} is an EventStore`, () => {
    let opened: OpenedStore;
    let store: EventStore;
    const orders = topicStream(aTopic('orders'));

    beforeEach(async () => {
      opened = await open(someRetention());
      store = opened.store;
    });
    afterEach(() => opened.close());

    const append = (stream: Stream<TopicEvent>, count: number, from = 1) =>
      right(store.append(stream, messages(count, from)));
    const readAll = <Event extends StoredEvent>(stream: Stream<Event>) =>
      right(store.read(stream, NO_OFFSET, 10_000));

    describe('append', () => {
      it('stores the events of one append in order and answers the place of each', async () => {
        // More than fit into one millisecond of offsets.
        const cursors = await append(orders, 1500);
        const recorded = await readAll(orders);
        expect(recorded.map(({ event }) => payloadOf(event))).to.deep.equal(payloads(1, 1500));
        expect(recorded.map(toCursor)).to.deep.equal(cursors);
      });

      it('counts every event of a stream from 1 on, without a hole', async () => {
        await append(orders, 3);
        const cursors = await append(orders, 2);
        expect(cursors.map(({ n }) => n)).to.deep.equal([4, 5]);
      });

      it('gives offsets that only grow', async () => {
        for (let i = 0; i < 20; i++) await append(orders, 3);
        expectGrowing((await readAll(orders)).map(({ offset }) => offset));
      });

      it('gives offsets that are the time of storing', async () => {
        const [first] = await append(orders, 1);
        const [second] = await append(topicStream(aTopic('invoices')), 1);
        const apartMs = instantOf(second!.offset) - instantOf(first!.offset);
        expect(Math.abs(apartMs)).to.be.below(5_000);
      });

      it('keeps concurrent appends whole: no place is given twice, and each append is in one piece', async () => {
        const appends = Array.from({ length: 50 }, (_, i) => append(orders, 1 + (i % 5), i * 10));
        const answers = await Promise.all(appends);
        const recorded = await readAll(orders);
        expect(recorded.map(({ n }) => n)).to.deep.equal(range(1, 150));
        expectGrowing(recorded.map(({ offset }) => offset));
        answers.forEach((cursors, i) => {
          const first = cursors[0]!.n;
          const stored = recorded.slice(first - 1, first - 1 + cursors.length);
          expect(stored.map(toCursor)).to.deep.equal(cursors);
          expect(stored.map(({ event }) => payloadOf(event))).to.deep.equal(payloads(i * 10, 1 + (i % 5)));
        });
      });

      it('does nothing before its task is run, and appends again when it is run again', async () => {
        const task = store.append(orders, [aMessage()]);
        expect(await readAll(orders)).to.deep.equal([]);
        await right(task);
        await right(task);
        expect(await readAll(orders)).to.have.length(2);
      });
    });

    describeVersions(() => store, open);

    describeOnce(() => opened, open);

    describe('read', () => {
      it('answers nothing for a stream that was never written', async () => {
        expect(await readAll(orders)).to.deep.equal([]);
      });

      it('pages through a stream, each page beginning above the last offset of the one before', async () => {
        await append(orders, 25);
        const seen: string[] = [];
        for (let after = NO_OFFSET; ;) {
          const page = await right(store.read(orders, after, 10));
          if (page.length === 0) break;
          expect(page.length).to.be.at.most(10);
          seen.push(...page.map(({ event }) => payloadOf(event)));
          after = page[page.length - 1]!.offset;
        }
        expect(seen).to.deep.equal(payloads(1, 25));
      });

      it('answers nothing at and above the end', async () => {
        const [last] = await append(orders, 1);
        expect(await right(store.read(orders, last!.offset, 10))).to.deep.equal([]);
        expect(await right(store.read(orders, (last!.offset + 5000) as Offset, 10))).to.deep.equal([]);
      });
    });

    describe('bounds and trim', () => {
      it('stand at the beginning for a stream that was never written', async () => {
        expect(await right(store.bounds(orders))).to.deep.equal({ first: BEGINNING, last: BEGINNING });
      });

      it('stand right before the oldest event and at the newest', async () => {
        const cursors = await append(orders, 5);
        const { first, last } = await right(store.bounds(orders));
        expect(last).to.deep.equal(cursors[4]);
        expect(first.n).to.equal(0);
        expect(first.offset).to.be.below(cursors[0]!.offset);
      });

      it('a trim forgets what is below its offset and keeps the rest', async () => {
        const cursors = await append(orders, 10);
        await right(store.trim(orders, cursors[6]!.offset));
        expect((await readAll(orders)).map(toCursor)).to.deep.equal(cursors.slice(6));
        const { first, last } = await right(store.bounds(orders));
        expect(first.n).to.equal(6);
        expect(await right(store.read(orders, first.offset, 1))).to.have.nested.property('[0].n', 7);
        expect(last).to.deep.equal(cursors[9]);
      });

      it('a stream of which everything was trimmed still knows its end, and goes on counting from there', async () => {
        const cursors = await append(orders, 4);
        await right(store.trim(orders, (cursors[3]!.offset + 1) as Offset));
        expect(await readAll(orders)).to.deep.equal([]);
        expect(await right(store.bounds(orders))).to.deep.equal({ first: cursors[3], last: cursors[3] });
        const [next] = await append(orders, 1);
        expect(next!.n).to.equal(5);
        expect(next!.offset).to.be.above(cursors[3]!.offset);
      });

      it('a trim of a stream that was never written does nothing', async () => {
        await right(store.trim(orders, 5000 as Offset));
        expect(await right(store.bounds(orders))).to.deep.equal({ first: BEGINNING, last: BEGINNING });
      });
    });

    describe('remove', () => {
      it('forgets the events at these offsets and keeps the places of the others', async () => {
        const cursors = await append(orders, 10);
        const gone = [cursors[0]!, cursors[4]!, cursors[9]!].map(({ offset }) => offset);
        expect(await right(store.remove(orders, gone))).to.equal(3);
        const kept = cursors.filter(({ offset }) => !gone.includes(offset));
        expect((await readAll(orders)).map(toCursor)).to.deep.equal(kept);
        const { first, last } = await right(store.bounds(orders));
        expect(first.n).to.equal(1);
        expect(last).to.deep.equal(cursors[9]);
      });

      it('answers how many there were: none of those that are gone or never were', async () => {
        const [first] = await append(orders, 2);
        const offsets = [first!.offset, first!.offset, (first!.offset + 500) as Offset, 5 as Offset];
        expect(await right(store.remove(orders, offsets))).to.equal(1);
        expect(await right(store.remove(orders, offsets))).to.equal(0);
        expect(await right(store.remove(orders, []))).to.equal(0);
        expect(await right(store.remove(topicStream(aTopic('never')), offsets))).to.equal(0);
      });

      it('never gives the place of a removed event again', async () => {
        const cursors = await append(orders, 3);
        await right(
          store.remove(
            orders,
            cursors.map(({ offset }) => offset),
          ),
        );
        expect(await readAll(orders)).to.deep.equal([]);
        expect(await right(store.bounds(orders))).to.deep.equal({ first: cursors[2], last: cursors[2] });
        const [next] = await append(orders, 1);
        expect(next!.n).to.equal(4);
        expect(next!.offset).to.be.above(cursors[2]!.offset);
      });

      it('a removed event is neither read nor peeked at', async () => {
        const cursors = await append(orders, 5);
        await right(store.remove(orders, [cursors[2]!.offset]));
        expect(store.peek(orders, cursors[1]!, 10)).to.equal(undefined);
        const read = await right(store.read(orders, cursors[1]!.offset, 10));
        expect(read.map(({ n }) => n)).to.deep.equal([4, 5]);
      });

      it('does nothing before its task is run', async () => {
        const cursors = await append(orders, 1);
        store.remove(orders, [cursors[0]!.offset]);
        expect(await readAll(orders)).to.have.length(1);
      });
    });

    describe('retention', () => {
      it('keeps the newest messages of a topic, at least as many as wanted and not many more', async () => {
        const small = await open(someRetention({ messagesPerTopicMax: 500 }));
        try {
          for (let from = 1; from <= 1901; from += 100) {
            await right(small.store.append(orders, messages(100, from)));
          }
          const { first, last } = await right(small.store.bounds(orders));
          expect(last.n).to.equal(2000);
          expect(last.n - first.n).to.be.within(500, 500 + BLOCK_MAX);
          const kept = await right(small.store.read(orders, NO_OFFSET, 5000));
          expect(kept.map(({ n }) => n)).to.deep.equal(range(first.n + 1, 2000));
          expect(payloadOf(kept[kept.length - 1]!.event)).to.equal('2000');
        } finally {
          await small.close();
        }
      });
    });

    describe('peek', () => {
      it('answers at once what a read would begin with, or that it must be read', async () => {
        const cursors = await append(orders, 20);
        for (const after of [BEGINNING, ...cursors]) {
          const peeked = store.peek(orders, after, 5);
          const read = await right(store.read(orders, after.offset, 5));
          if (peeked !== undefined) {
            expect(peeked.length).to.be.within(1, 5);
            expect(peeked).to.deep.equal(read.slice(0, peeked.length));
          }
        }
      });

      it('must be read where events are missing after the place, and where there are none', async () => {
        expect(store.peek(orders, BEGINNING, 5)).to.equal(undefined);
        const cursors = await append(orders, 5);
        expect(store.peek(orders, cursors[4]!, 5)).to.equal(undefined);
        await right(store.trim(orders, cursors[3]!.offset));
        expect(store.peek(orders, cursors[0]!, 5)).to.equal(undefined);
        expect(store.peek(orders, BEGINNING, 5)).to.equal(undefined);
      });
    });

    describe('catalogue', () => {
      it('records each topic once, however often it is appended to', async () => {
        await append(orders, 3);
        await append(topicStream(aTopic('invoices')), 1);
        await Promise.all(range(1, 10).map(() => append(orders, 1)));
        await Promise.all(range(1, 10).map(() => append(topicStream(aTopic('new')), 1)));
        const created = (await readAll(CATALOGUE)).map(({ event }) => event);
        expect(created).to.deep.equal(
          ['orders', 'invoices', 'new'].map((topic) => ({ type: 'TopicCreated', topic })),
        );
      });

      it('knows nothing of subscriptions', async () => {
        await right(
          store.append(subscriptionStream(anIdentity()), [{ type: 'SessionStarted', session: 'a' }]),
        );
        expect(await readAll(CATALOGUE)).to.deep.equal([]);
      });
    });

    describeContent(() => store);
  });
};

const toCursor = ({ offset, n }: Recorded<StoredEvent>): Cursor => ({ offset, n });

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

const payloads = (from: number, count: number): readonly string[] =>
  range(from, from + count - 1).map(String);

const expectGrowing = (offsets: readonly number[]): void => {
  offsets.forEach((offset, i) => expect(offset).to.be.above(i === 0 ? 0 : offsets[i - 1]!));
};
