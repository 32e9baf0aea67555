import { expect } from 'chai';
import fc from 'fast-check';
import { taskEither as TE } from 'fp-ts';
import {
  topicStream,
  type EventStore,
  type StoredEvent,
  type StoreUnavailable,
  type Stream,
} from '../../application/ports/event-store.js';
import { toBatch } from '../../application/live-topics.js';
import { readNext, toldNext, type Reading, type Room } from '../../application/topic-reader.js';
import {
  BEGINNING,
  before,
  toCursor,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../domain/message/offset.js';
import {
  positionAt,
  restored,
  type Pending,
  type TopicPosition,
} from '../../domain/subscription/topic-position.js';
import { isMessage, type MessagesLost, type TopicEvent } from '../../domain/topic/topic-events.js';
import { aMessage, aTopic, someRetention } from '../support/builders.js';
import { Backend } from '../support/instance.js';
import { TEST_START } from '../support/manual-clock.js';
import { left, right } from '../support/task-either.js';
import { UnreliableStore } from '../support/unreliable-store.js';

const TOPIC = aTopic('orders');
const ROOMY: Room = { most: 1_000, fresh: 1_000 };
/** Characters of a payload: a page has room for two of these. */
const LARGE = 100_000;

/** What a subscriber waits for, of what it was given before. */
type Waiting = 'nothing' | 'inFlight' | 'due' | 'dueLater';

/** A store that has lost messages from the middle of its topics. */
class HoledStore extends UnreliableStore {
  holes: readonly number[] = [];
  override canPeek = false;

  override read<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): TE.TaskEither<StoreUnavailable, readonly Recorded<Event>[]> {
    const reading = super.read(stream, after, limit + this.holes.length);
    return async () => {
      const read = await reading();
      return read._tag === 'Left'
        ? read
        : { ...read, right: read.right.filter(({ n }) => !this.holes.includes(n)).slice(0, limit) };
    };
  }
}

/** Places in these tests are as old as the epoch, and are not to be over for that. */
const retention = someRetention({ messagesMs: Number.MAX_SAFE_INTEGER });

describe('Reading what comes next in a topic', () => {
  let backend: Backend;
  let store: HoledStore;
  let cursors: readonly Cursor[];

  beforeEach(async () => {
    backend = new Backend();
    store = new HoledStore(backend.store);
    cursors = await right(
      backend.store.append(
        topicStream(TOPIC),
        Array.from({ length: 250 }, (_, i) => aMessage({ payload: String(i + 1) })),
      ),
    );
  });

  const read = (position: TopicPosition, room: Partial<Room> = {}, now = TEST_START) =>
    right(
      readNext(
        { store, retention },
        TOPIC,
        position,
        cursors[cursors.length - 1],
        { ...ROOMY, ...room },
        now,
      ),
    );

  const due = (...ns: readonly number[]): TopicPosition => ({
    ...positionAt(cursors[249]!),
    due: ns.map((n): Pending => ({ cursor: cursors[n - 1]!, attempt: 2, notBefore: 0 })),
  });

  const places = (reading: Reading | undefined): readonly number[] =>
    reading?.messages.map(({ n }) => n) ?? [];
  const trim = (below: Offset) => right(backend.store.trim(topicStream(TOPIC), below));

  const LOST: MessagesLost = { type: 'MessagesLost', reason: 'storage_rollback' };
  const RESET: MessagesLost = { type: 'MessagesLost', reason: 'stream_reset' };

  /** The place at time `t` with the number `n`. */
  const place = (t: number, n: number): Cursor => ({ offset: (t * 1024) as Offset, n });
  const message = (t: number, n: number): Recorded<TopicEvent> => ({
    ...place(t, n),
    event: aMessage({ payload: `${t}` }),
  });
  const loss = (t: number, n: number, event: MessagesLost): Recorded<TopicEvent> => ({
    ...place(t, n),
    event,
  });

  /** A topic with exactly these events. */
  const topicOf = (...events: readonly Recorded<TopicEvent>[]): EventStore => {
    const stored = new UnreliableStore(backend.store);
    stored.canPeek = false;
    stored.read = <Event extends StoredEvent>(_: Stream<Event>, after: Offset, limit: number) =>
      TE.right(
        events
          .filter(({ offset }) => offset > after)
          .slice(0, limit) as readonly Recorded<StoredEvent>[] as readonly Recorded<Event>[],
      );
    const first = events[0];
    const last = events[events.length - 1];
    stored.bounds = () =>
      TE.right({ first: first === undefined ? BEGINNING : before(first), last: last ?? BEGINNING });
    return stored;
  };

  describe('that was not delivered before', () => {
    it('answers a page of messages and where that leads', async () => {
      const reading = await read(positionAt(BEGINNING));
      expect(places(reading)).to.have.length(100);
      expect(reading).to.deep.include({ attempt: 1, next: cursors[99], dropped: [] });
      expect(reading).not.to.have.property('gap');
    });

    it('answers the same whether it is in memory or has to be read', async () => {
      const whole = await read(positionAt(cursors[10]!));
      store.canPeek = true;
      expect(await read(positionAt(cursors[10]!))).to.deep.equal(whole);
    });

    it('answers no more than there is room for', async () => {
      expect(places(await read(positionAt(BEGINNING), { fresh: 2 }))).to.deep.equal([1, 2]);
      expect(places(await read(positionAt(BEGINNING), { most: 3 }))).to.deep.equal([1, 2, 3]);
      expect(await read(positionAt(BEGINNING), { fresh: 0 })).to.be.undefined;
      expect(await read(positionAt(BEGINNING), { fresh: -1 })).to.be.undefined;
    });

    it('has nothing to answer at the head, or where no head is known', async () => {
      expect(await read(positionAt(cursors[249]!))).to.be.undefined;
      const reading = readNext(
        { store, retention },
        TOPIC,
        positionAt(BEGINNING),
        undefined,
        ROOMY,
        TEST_START,
      );
      expect(await right(reading)).to.be.undefined;
    });

    it('answers smaller pages of large messages, but never an empty one', async () => {
      const large = aMessage({ payload: 'x'.repeat(100_000) });
      const huge = aMessage({ payload: 'x'.repeat(1_000_000) });
      const more = await right(backend.store.append(topicStream(TOPIC), [large, large, large, huge, large]));
      cursors = [...cursors, ...more];
      const pages: (readonly number[])[] = [];
      for (let next = cursors[249]!; next.n < 255;) {
        const reading = await read(positionAt(next));
        pages.push(places(reading));
        next = reading!.next;
      }
      expect(pages).to.deep.equal([[251, 252], [253], [254], [255]]);
    });

    it('leaves out what has expired, and moves on behind it', async () => {
      const [a, b] = await right(
        backend.store.append(topicStream(TOPIC), [aMessage({ expiresAt: TEST_START }), aMessage()]),
      );
      cursors = [...cursors, a!, b!];
      const reading = await read(positionAt(cursors[249]!));
      expect(places(reading)).to.deep.equal([252]);
      expect(reading).to.deep.include({ next: b, expired: 1 });
    });

    it('tells the gap in front of what is left', async () => {
      await trim(cursors[4]!.offset);
      const reading = await read(positionAt(cursors[1]!));
      expect(places(reading).slice(0, 2)).to.deep.equal([5, 6]);
      expect(reading?.gap).to.deep.include({ topic: TOPIC, from: cursors[1], reason: 'retention' });
      expect(reading?.gap?.to.n).to.equal(4);
    });

    it('tells a gap up to the head where nothing is left, and leads behind it', async () => {
      await trim((cursors[249]!.offset + 1) as Offset);
      const reading = await read(positionAt(cursors[1]!));
      expect(reading).to.deep.equal({
        messages: [],
        attempt: 1,
        next: cursors[249],
        dropped: [],
        expired: 0,
        gap: { topic: TOPIC, from: cursors[1], to: cursors[249], reason: 'retention' },
      });
    });

    it('tells a hole in the middle as a gap as well', async () => {
      store.holes = [3, 4];
      const first = await read(positionAt(BEGINNING));
      expect(places(first)).to.deep.equal([1, 2]);
      const second = await read(positionAt(first!.next), { most: 2 });
      expect(second?.gap).to.deep.include({ from: cursors[1], reason: 'removed' });
      expect([second?.gap?.to.n, places(second)[0]]).to.deep.equal([4, 5]);
    });
  });

  describe('that is due again', () => {
    it('answers it before anything new', async () => {
      const reading = await read({ ...due(2, 3), next: cursors[99]! });
      expect(places(reading)).to.deep.equal([2, 3]);
      expect(reading).to.deep.include({ attempt: 2, next: cursors[99] });
    });

    it('needs no credit for it, but room', async () => {
      expect(places(await read(due(2, 3), { fresh: 0 }))).to.deep.equal([2, 3]);
      expect(places(await read(due(2, 3), { most: 1 }))).to.deep.equal([2]);
      expect(await read(due(2), { most: 0 })).to.be.undefined;
    });

    it('leaves what is not due yet for later', async () => {
      const position = due(2, 3);
      const later = {
        ...position,
        due: position.due.map((each) => ({ ...each, notBefore: TEST_START + 10 })),
      };
      expect(await read(later)).to.be.undefined;
      expect(places(await read(later, {}, TEST_START + 10))).to.deep.equal([2, 3]);
    });

    it('reads what lies far apart in several goes', async () => {
      expect(places(await read(due(1, 50, 100, 101, 249)))).to.deep.equal([1, 50, 100]);
    });

    it('answers one attempt at a time', async () => {
      const position = due(2, 3, 4);
      const mixed = {
        ...position,
        due: position.due.map((each, i) => ({ ...each, attempt: i === 1 ? 3 : 2 })),
      };
      expect(places(await read(mixed))).to.deep.equal([2]);
    });

    it('drops what has expired or is gone', async () => {
      const [expired] = await right(
        backend.store.append(topicStream(TOPIC), [aMessage({ expiresAt: TEST_START })]),
      );
      await trim(cursors[9]!.offset);
      const gone = await read(due(2, 9, 10));
      expect(places(gone)).to.deep.equal([]);
      expect(gone?.dropped).to.deep.equal([cursors[1]!.offset]);
      expect([gone?.gap?.from.n, gone?.gap?.to.n, gone?.gap?.reason]).to.deep.equal([1, 2, 'retention']);
      expect(gone?.expired).to.equal(0);
      // What lies between was acknowledged: it is not missing.
      const next = await read(due(9, 10));
      expect([places(next), next?.gap?.from.n, next?.gap?.to.n]).to.deep.equal([[10], 8, 9]);
      const position = { ...due(), due: [{ cursor: expired!, attempt: 2, notBefore: 0 }], next: expired! };
      expect(await read(position)).to.deep.include({
        messages: [],
        dropped: [expired!.offset],
        expired: 1,
      });
    });

    it('tells a gap that covers what is gone and nothing that is given: what lies behind comes next', async () => {
      store.holes = [3, 4, 6];
      const first = await read(due(2, 3, 4, 5, 6));
      expect([places(first), first?.dropped, first?.gap]).to.deep.equal([[2], [], undefined]);
      const second = await read(due(3, 4, 5, 6));
      expect([places(second), second?.dropped]).to.deep.equal([
        [5],
        [cursors[2]!.offset, cursors[3]!.offset],
      ]);
      expect(second?.gap).to.deep.include({ to: cursors[3], reason: 'removed' });
      expect(second?.gap?.from.n).to.equal(2);
    });
  });

  describe('where the storage has lost messages', () => {
    const readFrom = (
      topic: EventStore,
      from: Cursor,
      head: Cursor,
      pending: readonly Cursor[] = [],
    ): Promise<Reading | undefined> => {
      const position = {
        ...positionAt(from),
        due: pending.map((cursor): Pending => ({ cursor, attempt: 2, notBefore: 0 })),
      };
      return right(readNext({ store: topic, retention }, TOPIC, position, head, ROOMY, TEST_START));
    };

    const summary = (reading: Reading | undefined): readonly unknown[] => [
      places(reading),
      reading?.next.n,
      reading?.gap?.from.n,
      reading?.gap?.to.n,
      reading?.gap?.reason,
    ];

    it('tells what comes before the loss, then the loss as a gap, with what comes behind it', async () => {
      const topic = topicOf(message(1, 1), message(2, 2), loss(5, 5, LOST), message(6, 6));
      const head = place(6, 6);
      expect(summary(await readFrom(topic, BEGINNING, head))).to.deep.equal([
        [1, 2],
        2,
        undefined,
        undefined,
        undefined,
      ]);
      const second = await readFrom(topic, place(2, 2), head);
      expect(summary(second)).to.deep.equal([[6], 6, 2, 5, 'storage_rollback']);
      expect(second?.gap).to.deep.include({ from: place(2, 2), to: place(5, 5) });
      expect(summary(await readFrom(topic, place(4, 4), head))).to.deep.equal([
        [6],
        6,
        4,
        5,
        'storage_rollback',
      ]);
    });

    it('never gives the loss to the client as a message, not even where nothing else is there', async () => {
      const topic = topicOf(loss(5, 5, RESET));
      expect(summary(await readFrom(topic, place(2, 2), place(5, 5)))).to.deep.equal([
        [],
        5,
        2,
        5,
        'stream_reset',
      ]);
    });

    it('has nothing to tell to who had everything', async () => {
      const topic = topicOf(message(1, 1), loss(5, 5, LOST), message(6, 6));
      expect(summary(await readFrom(topic, place(5, 5), place(6, 6)))).to.deep.equal([
        [6],
        6,
        undefined,
        undefined,
        undefined,
      ]);
    });

    it('tells losses that follow each other as one gap', async () => {
      const topic = topicOf(loss(3, 3, RESET), loss(5, 5, RESET), message(6, 6));
      expect(summary(await readFrom(topic, place(1, 1), place(6, 6)))).to.deep.equal([
        [6],
        6,
        1,
        5,
        'stream_reset',
      ]);
    });

    it('tells a loss in front of messages that were counted on, where it is', async () => {
      const between = { from: place(2, 2), to: place(5, 5) };
      const topic = topicOf(
        message(1, 1),
        message(2, 2),
        message(6, 3),
        message(7, 4),
        loss(8, 6, { ...LOST, between }),
        message(9, 7),
      );
      const head = place(9, 7);
      // Who had seen the end of what was lost goes on behind it, without a gap; the loss is passed with the messages.
      expect(summary(await readFrom(topic, place(5, 5), head))).to.deep.equal([
        [3, 4],
        6,
        undefined,
        undefined,
        undefined,
      ]);
      const behind = await readFrom(topic, place(4, 4), head);
      expect(summary(behind)).to.deep.equal([[3, 4], 6, 4, 5, 'storage_rollback']);
      // Whose count fits comes to the loss last.
      expect(summary(await readFrom(topic, place(2, 2), head))).to.deep.equal([
        [3, 4],
        4,
        undefined,
        undefined,
        undefined,
      ]);
      const last = await readFrom(topic, place(7, 4), head);
      expect(last?.gap).to.deep.equal({ topic: TOPIC, ...between, reason: 'storage_rollback' });
      expect(summary(last).slice(0, 2)).to.deep.equal([[7], 7]);
    });

    it('tells a lower number without a loss as a gap up to it', async () => {
      const rolledBack = topicOf(message(1, 1), message(6, 2), message(7, 3));
      expect(summary(await readFrom(rolledBack, place(5, 5), place(7, 3)))).to.deep.equal([
        [2, 3],
        3,
        5,
        5,
        'storage_rollback',
      ]);
      const begunAnew = topicOf(message(6, 1), message(7, 2));
      const reading = await readFrom(begunAnew, place(5, 5), place(7, 2));
      expect(summary(reading)).to.deep.equal([[1, 2], 2, 5, 5, 'stream_reset']);
      expect(reading?.gap?.to.offset).to.equal(place(6, 1).offset - 1);
    });

    it('tells what the head had promised and the topic has not any more', async () => {
      const cut = topicOf(message(1, 1), message(2, 2));
      expect(summary(await readFrom(cut, place(2, 2), place(5, 5)))).to.deep.equal([
        [],
        5,
        2,
        5,
        'storage_rollback',
      ]);
      expect(summary(await readFrom(topicOf(), place(2, 2), place(5, 5)))).to.deep.equal([
        [],
        5,
        2,
        5,
        'stream_reset',
      ]);
    });

    it('tells a loss once to who has noticed it before the topic says so', async () => {
      const between = { from: place(0, 0), to: place(5, 5) };
      const topic = topicOf(message(10, 1), loss(11, 6, { ...RESET, between }));
      const head = place(11, 6);
      const first = await right(
        readNext(
          { store: topic, retention },
          TOPIC,
          positionAt(place(1, 1)),
          head,
          { most: 1, fresh: 1 },
          TEST_START,
        ),
      );
      expect(first?.gap).to.deep.include({ from: place(1, 1), reason: 'stream_reset' });
      const room = { ...ROOMY, lossesToldTo: first!.gap!.to.offset };
      const second = await right(
        readNext({ store: topic, retention }, TOPIC, positionAt(first!.next), head, room, TEST_START),
      );
      expect([second?.gap, second?.next]).to.deep.equal([undefined, head]);
    });

    it('drops what is due again and lost, for the same reasons', async () => {
      const pending = [place(2, 2), place(4, 4), place(5, 5)];
      const dropped = [place(4, 4).offset, place(5, 5).offset];
      const reasons: readonly (readonly [EventStore, string])[] = [
        [topicOf(message(1, 1), message(2, 2), loss(5, 5, LOST)), 'storage_rollback'],
        [topicOf(message(1, 1), message(2, 2)), 'storage_rollback'],
        [topicOf(message(1, 1), message(2, 2), message(6, 3)), 'storage_rollback'],
      ];
      for (const [topic, reason] of reasons) {
        const first = await readFrom(topic, place(9, 9), place(9, 9), pending);
        expect([places(first), first?.dropped]).to.deep.equal([[2], []]);
        const second = await readFrom(topic, place(9, 9), place(9, 9), pending.slice(1));
        expect([places(second), second?.dropped, second?.gap?.reason]).to.deep.equal([[], dropped, reason]);
        expect([second?.gap?.from.n, second?.gap?.to]).to.deep.equal([3, place(5, 5)]);
      }
      for (const topic of [topicOf(), topicOf(loss(5, 5, RESET)), topicOf(message(6, 1))]) {
        const reading = await readFrom(topic, place(9, 9), place(9, 9), pending);
        expect([places(reading), reading?.dropped.length, reading?.gap?.reason]).to.deep.equal([
          [],
          1,
          'stream_reset',
        ]);
      }
    });

    it('drops nothing that is still there, however the numbers run', async () => {
      const anew = Array.from({ length: 20 }, (_, i) => message(100 + i, i + 1));
      const topic = topicOf(...anew);
      const head = place(119, 20);
      const due = [place(2, 2), place(119, 20)];
      const first = await readFrom(topic, head, head, due);
      expect([places(first), first?.dropped]).to.deep.equal([[], [place(2, 2).offset]]);
      expect(places(await readFrom(topic, head, head, due.slice(1)))).to.deep.equal([20]);
      // A lower number behind a higher one.
      const lower = await readFrom(topic, head, head, [place(50, 50), place(101, 2), place(102, 3)]);
      expect(lower?.dropped).to.deep.equal([place(50, 50).offset]);
      expect(places(await readFrom(topic, head, head, [place(101, 2), place(102, 3)]))).to.deep.equal([2, 3]);
    });
  });

  describe('that the topic has told just now', () => {
    /** What can happen to a topic, in the order in which it happened. */
    type Happening =
      | { readonly what: 'published'; readonly characters: readonly number[]; readonly expiresAt?: number }
      /** Where in the topic, from its end. */
      | { readonly what: 'removed'; readonly back: number }
      | { readonly what: 'trimmed'; readonly kept: number }
      /** The storage has lost `count` events, and others had appended `anew` before that was found out. */
      | { readonly what: 'lost'; readonly count: number; readonly anew: number };

    const characters = fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 1, max: 5 }).map((count) => Array<number>(count).fill(1)) },
      {
        weight: 1,
        arbitrary: fc.integer({ min: 99, max: 102 }).map((count) => Array<number>(count).fill(1)),
      },
      {
        weight: 1,
        arbitrary: fc.integer({ min: 1, max: 4 }).map((count) => Array<number>(count).fill(LARGE)),
      },
    );
    const published = fc.record({ what: fc.constant('published' as const), characters });
    const happening: fc.Arbitrary<Happening> = fc.oneof(
      { weight: 4, arbitrary: published },
      {
        weight: 1,
        arbitrary: fc.record({
          what: fc.constant('published' as const),
          characters,
          expiresAt: fc.constantFrom(TEST_START - 1, TEST_START, TEST_START + 1),
        }),
      },
      { weight: 3, arbitrary: fc.record({ what: fc.constant('removed' as const), back: fc.nat(8) }) },
      { weight: 1, arbitrary: fc.record({ what: fc.constant('trimmed' as const), kept: fc.nat(8) }) },
      {
        weight: 1,
        arbitrary: fc.record({ what: fc.constant('lost' as const), count: fc.nat(4), anew: fc.nat(6) }),
      },
    );

    interface History {
      /** What is left of the topic. */
      readonly events: readonly Recorded<TopicEvent>[];
      /** Every place that somebody may stand at, also where nothing is any more. */
      readonly places: readonly Cursor[];
    }

    const historyOf = (happenings: readonly Happening[]): History => {
      let events: Recorded<TopicEvent>[] = [];
      const places: Cursor[] = [BEGINNING];
      let end = BEGINNING;
      const add = (event: TopicEvent, n = end.n + 1): void => {
        end = { offset: (end.offset + 1024) as Offset, n };
        events.push({ ...end, event });
        places.push(end);
      };
      for (const happened of happenings) {
        switch (happened.what) {
          case 'published': {
            const { expiresAt } = happened;
            for (const count of happened.characters)
              add(
                aMessage({ payload: 'x'.repeat(count), ...(expiresAt === undefined ? {} : { expiresAt }) }),
              );
            break;
          }
          case 'removed':
            events = events.filter((_, i) => i !== events.length - 1 - happened.back);
            break;
          case 'trimmed':
            events = events.slice(Math.max(0, events.length - happened.kept));
            break;
          case 'lost': {
            // Nothing that comes after a loss is told before the loss is recorded, which counts on from what was known.
            const reached = end;
            events = events.slice(0, Math.max(0, events.length - happened.count));
            const from = events[events.length - 1] ?? BEGINNING;
            end = { offset: reached.offset, n: from.n };
            for (let i = 0; i < happened.anew; i++) add(aMessage());
            const between = { from: { offset: from.offset, n: from.n }, to: reached };
            add(happened.anew === 0 ? LOST : { ...LOST, between }, Math.max(reached.n, end.n) + 1);
          }
        }
      }
      return { events, places };
    };

    const room: fc.Arbitrary<Room> = fc.record({
      most: fc.constantFrom(1, 2, 5, 100, 1_000),
      fresh: fc.constantFrom(-1, 0, 1, 2, 5, 100, 1_000),
      lossesToldTo: fc.option(
        fc.nat(20).map((t) => (t * 1024) as Offset),
        { nil: undefined },
      ),
    });

    /** Who stands at `next`: with what was given before in flight, or due again, or neither. */
    const positionOf = (next: Cursor, earlier: readonly Cursor[], waiting: Waiting): TopicPosition => {
      const cursors = earlier.filter(({ offset }) => offset > 0 && offset <= next.offset).slice(-2);
      if (waiting === 'nothing' || cursors.length === 0) return positionAt(next);
      return waiting === 'inFlight'
        ? restored(next, [{ cursors, attempt: 1, deadline: TEST_START }], [])
        : restored(
            next,
            [],
            cursors.map((cursor) => ({
              cursor,
              attempt: 2,
              notBefore: TEST_START + (waiting === 'due' ? 0 : 1),
            })),
          );
    };

    it('is answered at once as it would be read', async () => {
      const runs = 1_000;
      let answered = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(happening, { maxLength: 6 }),
          published,
          fc.array(fc.record({ what: fc.constant('removed' as const), back: fc.nat(8) }), { maxLength: 1 }),
          fc.record({ back: fc.nat(12), told: fc.nat(12) }),
          fc.constantFrom<Waiting>('nothing', 'nothing', 'inFlight', 'due', 'dueLater'),
          room,
          async (before, last, removed, { back, told }, waiting, given) => {
            const { events, places } = historyOf([...before, last, ...removed]);
            // A feed tells what it finds behind the place that it told last. Who stood there, stands there mostly.
            const from =
              places[Math.max(0, places.length - 1 - last.characters.length - (told > 4 ? 0 : told))];
            const at = back > 4 ? from : places[Math.max(0, places.length - 1 - back)];
            const batch = events.filter(({ offset }) => offset > (from?.offset ?? 0));
            // A batch with a loss in it is not told as messages.
            if (at === undefined || !batch.every(isMessage)) return;
            const position = positionOf(at, places, waiting);
            const atOnce = toldNext(position, toBatch(TOPIC, batch), given);
            if (atOnce === undefined) return;
            answered += 1;
            const { cursors, ...reading } = atOnce;
            expect(cursors).to.deep.equal(batch.map(toCursor));
            const source = { store: topicOf(...events), retention };
            const head = batch[batch.length - 1];
            expect(reading).to.deep.equal(
              await right(readNext(source, TOPIC, position, head, given, TEST_START)),
            );
          },
        ),
        { numRuns: runs },
      );
      expect(answered).to.be.above(runs / 20);
    });

    it('is answered at once in the usual case: right behind the position, with room for it', () => {
      const { events, places } = historyOf([{ what: 'published', characters: [1, 2, 3, 4] }]);
      const batch = events.filter(isMessage).slice(2);
      const cursors = batch.map(toCursor);
      const expected = { messages: batch, cursors, attempt: 1, next: places[4], dropped: [], expired: 0 };
      for (const waiting of ['nothing', 'inFlight'] as const) {
        const position = positionOf(places[2]!, places, waiting);
        for (const given of [ROOMY, { most: 2, fresh: 2 }]) {
          expect(toldNext(position, toBatch(TOPIC, batch), given)).to.deep.equal(expected);
        }
      }
    });

    it('has to be read where a message is missing in it, so that the gap is told', () => {
      const { events, places } = historyOf([
        { what: 'published', characters: [1, 2, 3] },
        { what: 'removed', back: 1 },
      ]);
      const batch = toBatch(TOPIC, events.filter(isMessage));
      expect(toldNext(positionAt(places[0]!), batch, ROOMY)).to.be.undefined;
    });

    it('has to be read where something else is to be given before it', () => {
      const { events, places } = historyOf([{ what: 'published', characters: [1, 2, 3] }]);
      const batch = toBatch(TOPIC, events.filter(isMessage).slice(2));
      expect(toldNext(positionAt(places[1]!), batch, ROOMY)).to.be.undefined;
      expect(toldNext(positionOf(places[2]!, places, 'due'), batch, ROOMY)).to.be.undefined;
    });
  });

  it('says where the store cannot be read', async () => {
    store.fault = () => 'not_stored';
    const reading = readNext(
      { store, retention },
      TOPIC,
      positionAt(BEGINNING),
      cursors[9],
      ROOMY,
      TEST_START,
    );
    expect(await left(reading)).to.include({ _tag: 'StoreUnavailable' });
    // Nor where it answers, and then does not say why something is missing.
    await trim(cursors[4]!.offset);
    store.fault = ({ operation }) => (operation === 'bounds' ? 'not_stored' : undefined);
    expect(await left(reading)).to.include({ _tag: 'StoreUnavailable' });
  });
});
