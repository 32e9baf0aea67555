import { expect } from 'chai';
import type { taskEither as TE } from 'fp-ts';
import {
  topicStream,
  type StoredEvent,
  type StoreUnavailable,
  type Stream,
} from '../../application/ports/event-store.js';
import { readNext, type Reading, type Room } from '../../application/topic-reader.js';
import type { Cursor, Offset, Recorded } from '../../domain/message/offset.js';
import { BEGINNING } from '../../domain/message/offset.js';
import { positionAt, type Pending, type TopicPosition } from '../../domain/subscription/topic-position.js';
import { aMessage, aTopic } from '../support/builders.js';
import { Backend } from '../support/instance.js';
import { TEST_START } from '../support/manual-clock.js';
import { left, right } from '../support/task-either.js';
import { UnreliableStore } from '../support/unreliable-store.js';

const TOPIC = aTopic('orders');
const ROOMY: Room = { most: 1_000, fresh: 1_000 };

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
    right(readNext(store, TOPIC, position, cursors[cursors.length - 1], { ...ROOMY, ...room }, now));

  const due = (...ns: readonly number[]): TopicPosition => ({
    ...positionAt(cursors[249]!),
    due: ns.map((n): Pending => ({ cursor: cursors[n - 1]!, attempt: 2, notBefore: 0 })),
  });

  const places = (reading: Reading | undefined): readonly number[] =>
    reading?.messages.map(({ n }) => n) ?? [];
  const trim = (below: Offset) => right(backend.store.trim(topicStream(TOPIC), below));

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
      const reading = readNext(store, TOPIC, positionAt(BEGINNING), undefined, ROOMY, TEST_START);
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
      expect(reading?.next).to.deep.equal(b);
    });

    it('tells the gap in front of what is left', async () => {
      await trim(cursors[4]!.offset);
      const reading = await read(positionAt(cursors[1]!));
      expect(places(reading).slice(0, 2)).to.deep.equal([5, 6]);
      expect(reading?.gap).to.deep.include({ topic: TOPIC, from: cursors[1], reason: 'trimmed' });
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
        gap: { topic: TOPIC, from: cursors[1], to: cursors[249], reason: 'trimmed' },
      });
    });

    it('tells a hole in the middle as a gap as well', async () => {
      store.holes = [3, 4];
      const first = await read(positionAt(BEGINNING));
      expect(places(first)).to.deep.equal([1, 2]);
      const second = await read(positionAt(first!.next), { most: 2 });
      expect(second?.gap).to.deep.include({ from: cursors[1] });
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
      expect(places(gone)).to.deep.equal([10]);
      expect(gone?.dropped).to.deep.equal([cursors[1]!.offset, cursors[8]!.offset]);
      expect([gone?.gap?.from.n, gone?.gap?.to.n]).to.deep.equal([1, 9]);
      const position = { ...due(), due: [{ cursor: expired!, attempt: 2, notBefore: 0 }], next: expired! };
      expect(await read(position)).to.deep.include({ messages: [], dropped: [expired!.offset] });
    });
  });

  it('says where the store cannot be read', async () => {
    store.fault = () => 'not_stored';
    const reading = readNext(store, TOPIC, positionAt(BEGINNING), cursors[9], ROOMY, TEST_START);
    expect(await left(reading)).to.include({ _tag: 'StoreUnavailable' });
  });
});
