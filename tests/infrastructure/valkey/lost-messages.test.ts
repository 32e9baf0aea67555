/** What Valkey has lost is told: once, in its place, to everybody who was behind it and to nobody else. */
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import type { Gap } from '../../../application/ports/client-connection.js';
import { CATALOGUE, topicStream, type EventStore } from '../../../application/ports/event-store.js';
import { readNext } from '../../../application/topic-reader.js';
import { NO_OFFSET, type Cursor, type Recorded } from '../../../domain/message/offset.js';
import { positionAt } from '../../../domain/subscription/topic-position.js';
import type { MessagesLost, TopicEvent } from '../../../domain/topic/topic-events.js';
import { APPEND } from '../../../infrastructure/valkey/scripts.js';
import { aTopic, messages, someRetention } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { right } from '../../support/task-either.js';
import { startValkey, type ValkeyServer } from '../../support/valkey-server.js';
import { openSharedValkey, openValkey, someSettings, type OpenedValkey } from './open-valkey.js';
import { clientIds, connectAsAdmin } from './valkey-admin.js';

const TOPIC = aTopic('orders');
const orders = topicStream(TOPIC);

const append = (store: EventStore, count: number, from = 1) =>
  right(store.append(orders, messages(count, from)));

const everything = (store: EventStore) => right(store.read(orders, NO_OFFSET, 100_000));

const losses = async (store: EventStore): Promise<readonly Recorded<TopicEvent>[]> =>
  (await everything(store)).filter(({ event }) => event.type === 'MessagesLost');

const at = ({ offset, n }: Cursor): Cursor => ({ offset, n });

/** Everything that a consumer at `from` is given, a page at a time. */
const consume = async (
  store: EventStore,
  from: Cursor,
): Promise<{ readonly payloads: readonly string[]; readonly gaps: readonly Gap[] }> => {
  const payloads: string[] = [];
  const gaps: Gap[] = [];
  const { last } = await right(store.bounds(orders));
  for (let next = from; ;) {
    const reading = await right(
      readNext(
        { store, retention: someRetention() },
        TOPIC,
        positionAt(next),
        last,
        { most: Infinity, fresh: 1_000 },
        Date.now(),
      ),
    );
    if (reading === undefined) return { payloads, gaps };
    if (reading.gap !== undefined) gaps.push(reading.gap);
    payloads.push(...reading.messages.map(({ event }) => event.payload));
    next = reading.next;
  }
};

const follow = async ({ feed }: OpenedValkey): Promise<readonly Recorded<TopicEvent>[]> => {
  const told: Recorded<TopicEvent>[] = [];
  await right(feed.follow(orders, (events) => told.push(...events)).start);
  return told;
};

describe('LostMessages', () => {
  let opened: OpenedValkey;
  /** Another instance, which knows nothing but what it is told. */
  let other: OpenedValkey;
  let admin: Redis;
  let cursors: readonly Cursor[];

  beforeEach(async () => {
    opened = await openSharedValkey();
    const keyPrefix = opened.names.key(orders).replace('topic:orders', '');
    other = await openSharedValkey(undefined, { keyPrefix });
    admin = connectAsAdmin(await sharedValkey());
    cursors = await append(opened.store, 10);
    // Later than the millisecond in which the topic came into being: what begins anew now has higher places.
    await delay(2);
  });
  afterEach(async () => {
    admin.disconnect();
    await Promise.all([opened.close(), other.close()]);
  });

  /** What a power failure does: the newest entries are gone, with their counts. */
  const loseTail = async (kept: number): Promise<void> => {
    const key = opened.names.key(orders);
    const entries = (await admin.xrange(key, '-', '+')).slice(0, kept);
    const batch = admin.multi().del(key);
    for (const [id, fields] of entries) batch.xadd(key, id, ...fields);
    await batch.exec();
    // A restart takes longer than this. Within the same millisecond, offsets could be given a second time.
    await delay(2);
  };

  const restore = async (end = cursors[9]!, { lost } = opened): Promise<Cursor> => {
    const ends = await right(() => lost.restore([{ topic: TOPIC, end }]));
    return ends[0]!;
  };

  describe('restores the end of a topic', () => {
    it('by one marker at the place that it had reached, however many do it at once', async () => {
      await loseTail(7);
      const ends = await Promise.all([restore(), restore(), restore(cursors[9], other)]);
      expect(ends).to.deep.equal([cursors[9], cursors[9], cursors[9]]);
      expect((await everything(opened.store)).slice(7)).to.deep.equal([
        { ...cursors[9]!, event: { type: 'MessagesLost', reason: 'storage_rollback' } },
      ]);
    });

    it('so that neither offsets nor numbers are given twice', async () => {
      await loseTail(7);
      await restore();
      const [next] = await append(other.store, 1);
      expect(next?.n).to.equal(11);
      expect(next!.offset).to.be.above(cursors[9]!.offset);
    });

    it('that was deleted: with its entry in the catalogue, and its expiry', async () => {
      await admin.del(opened.names.key(orders), opened.names.key(CATALOGUE));
      await Promise.all([restore(), restore(cursors[9], other)]);
      expect(await everything(opened.store)).to.deep.equal([
        { ...cursors[9]!, event: { type: 'MessagesLost', reason: 'stream_reset' } },
      ]);
      const listed = await right(opened.store.read(CATALOGUE, NO_OFFSET, 10));
      expect(listed.map(({ n, event }) => [n, event])).to.deep.equal([
        [1, { type: 'TopicCreated', topic: TOPIC }],
      ]);
      expect(await admin.pttl(opened.names.key(orders))).to.be.above(0);
    });

    it('as far as each instance knows it, for the same reason', async () => {
      await admin.del(opened.names.key(orders));
      await restore(cursors[4]);
      await restore(cursors[9]);
      await restore(cursors[6], other);
      expect((await everything(opened.store)).map(({ n, event }) => [n, event])).to.deep.equal([
        [5, { type: 'MessagesLost', reason: 'stream_reset' }],
        [10, { type: 'MessagesLost', reason: 'stream_reset' }],
      ]);
    });

    it('behind what others have appended meanwhile, and says where the loss is', async () => {
      await loseTail(7);
      const [, last] = await append(other.store, 2, 100);
      const ends = [await restore(), await restore(), await restore(cursors[8], other)];
      expect(ends[0]).to.deep.equal({ offset: last!.offset + 1, n: 11 });
      expect(ends[2]).to.deep.equal(ends[0]);
      const between = { from: cursors[6], to: cursors[9] };
      expect((await everything(opened.store)).slice(9)).to.deep.equal([
        { ...ends[0]!, event: { type: 'MessagesLost', reason: 'storage_rollback', between } },
      ]);
    });

    it('though others have appended so much that the numbers fit', async () => {
      await loseTail(7);
      await append(other.store, 5, 100);
      expect((await restore()).n).to.equal(13);
      expect((await losses(opened.store)).map(({ event }) => (event as MessagesLost).between)).to.deep.equal([
        { from: cursors[6], to: cursors[9] },
      ]);
      await restore(cursors[9], other);
      expect(await losses(opened.store)).to.have.length(1);
    });

    it('that began anew, as what it is', async () => {
      await admin.del(opened.names.key(orders));
      await append(other.store, 2, 100);
      await restore();
      expect((await losses(opened.store)).map(({ event }) => event)).to.deep.equal([
        {
          type: 'MessagesLost',
          reason: 'stream_reset',
          between: { from: { offset: 0, n: 0 }, to: cursors[9] },
        },
      ]);
    });
  });

  it('need not care for a topic that begins anew within the same millisecond: no place is given twice', async () => {
    const key = opened.names.key(orders);
    // Within a transaction, time stands still.
    await delay(2);
    const kind = ['payload', '', '', '', '', '', '', ''] as const;
    const append = [APPEND.source, 2, 'topics', key, ...kind, '', '2', '1', ''] as const;
    const replies = await admin
      .multi()
      .eval(...append)
      .del(key)
      .eval(...append)
      .exec();
    const [before, , after] = (replies ?? []).map(([, reply]) => (reply as readonly number[])[1]);
    expect(after).to.be.above(before!);
  });

  describe('leaves a topic alone', () => {
    it('that is as far as it was known, or further', async () => {
      expect(await restore()).to.deep.equal(cursors[9]);
      const [next] = await append(other.store, 1);
      expect(await restore()).to.deep.equal(next);
      expect(await losses(opened.store)).to.deep.equal([]);
    });

    it('whose messages were trimmed or removed', async () => {
      await right(opened.store.remove(orders, [cursors[9]!.offset]));
      await append(other.store, 1);
      await restore();
      await right(opened.store.trim(orders, cursors[8]!.offset));
      await restore(cursors[5]);
      expect(await losses(opened.store)).to.deep.equal([]);
    });

    it('whose time is over', async () => {
      const brief = await openSharedValkey(someRetention({ messagesMs: 50, subscriptionMs: 50 }));
      const [end] = await append(brief.store, 1);
      const key = brief.names.key(orders);
      await eventually(async () => expect(await admin.exists(key)).to.equal(0));
      expect(await restore(end, brief)).to.deep.equal({ offset: 0, n: 0 });
      expect(await admin.exists(key)).to.equal(0);
      await brief.close();
    });

    it('into which somebody else has put entries of another kind', async () => {
      const key = opened.names.key(orders);
      await admin.xadd(key, '*', 'lost', 'everything', 'meta', 'no json');
      await admin.xadd(key, '*', 'something', 'else');
      await restore(cursors[9], other);
      expect(await admin.xlen(key)).to.equal(12);
    });
  });

  describe('finds a loss out', () => {
    it('by an append that is counted from a lower number, once', async () => {
      await loseTail(7);
      await Promise.all([append(opened.store, 1, 100), append(opened.store, 1, 101)]);
      await eventually(async () => expect(await losses(opened.store)).to.have.length(1));
      for (let i = 0; i < 20; i++) await append(opened.store, 1, 102 + i);
      const stored = await everything(opened.store);
      expect(stored[stored.length - 1]?.n).to.equal(11 + 20);
      expect(await losses(opened.store)).to.have.length(1);
    });

    it('of every topic that it knows of, where it is found out for one', async () => {
      const quiet = topicStream(aTopic('quiet'));
      const [end] = await right(opened.store.append(quiet, messages(1)));
      await admin.del(opened.names.key(orders), opened.names.key(quiet));
      await append(opened.store, 1, 100);
      await eventually(async () => {
        const stored = await right(opened.store.read(quiet, NO_OFFSET, 10));
        expect(stored).to.deep.equal([{ ...end!, event: { type: 'MessagesLost', reason: 'stream_reset' } }]);
      });
    });

    it('on a new connection, before anything is appended on it', async () => {
      await loseTail(7);
      for (const id of await clientIds(admin, 'pulsar-proxy:commands')) await admin.client('KILL', 'ID', id);
      await eventually(() => append(opened.store, 1, 100));
      expect(
        (await everything(opened.store)).slice(7).map(({ n, event: { type } }) => [n, type]),
      ).to.deep.equal([
        [10, 'MessagesLost'],
        [11, 'MessagePublished'],
      ]);
    });

    it('of a topic that it only follows, when it looks at its position', async () => {
      await follow(other);
      await opened.close();
      await admin.del(opened.names.key(orders));
      // A reconnect is followed by a check, which is sooner than waiting for the next one.
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await eventually(async () => expect((await losses(other.store)).map(at)).to.deep.equal([cursors[9]]));
    });
  });

  describe('is told to consumers', () => {
    const gap = (from: Cursor, to: Cursor, reason: Gap['reason']): Gap => ({
      topic: TOPIC,
      from,
      to,
      reason,
    });

    it('as one gap to who is behind, and as none to who had everything', async () => {
      await loseTail(7);
      await restore();
      await append(other.store, 2, 100);
      expect(await consume(other.store, cursors[4]!)).to.deep.equal({
        payloads: ['6', '7', '100', '101'],
        gaps: [gap(cursors[6]!, cursors[9]!, 'storage_rollback')],
      });
      expect(await consume(other.store, cursors[8]!)).to.deep.equal({
        payloads: ['100', '101'],
        gaps: [gap(cursors[8]!, cursors[9]!, 'storage_rollback')],
      });
      expect(await consume(other.store, cursors[9]!)).to.deep.equal({ payloads: ['100', '101'], gaps: [] });
    });

    it('likewise where others had appended behind the loss before it was found out', async () => {
      await loseTail(7);
      await append(other.store, 5, 100);
      await restore();
      await append(other.store, 1, 200);
      const payloads = ['100', '101', '102', '103', '104', '200'];
      expect(await consume(other.store, cursors[6]!)).to.deep.equal({
        payloads,
        gaps: [gap(cursors[6]!, cursors[9]!, 'storage_rollback')],
      });
      expect(await consume(other.store, cursors[8]!)).to.deep.equal({
        payloads,
        gaps: [gap(cursors[8]!, cursors[9]!, 'storage_rollback')],
      });
      expect(await consume(other.store, cursors[9]!)).to.deep.equal({ payloads, gaps: [] });
    });

    it('with everything that several instances knew of in one gap', async () => {
      await admin.del(opened.names.key(orders));
      await restore(cursors[5]);
      await restore(cursors[9], other);
      await append(other.store, 1, 100);
      expect(await consume(other.store, cursors[2]!)).to.deep.equal({
        payloads: ['100'],
        gaps: [gap(cursors[2]!, cursors[9]!, 'stream_reset')],
      });
    });
  });
});

describe('LostMessages, where Valkey itself', () => {
  let folder: string;
  let server: ValkeyServer;
  let one: OpenedValkey;
  let other: OpenedValkey;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pulsar-lost-'));
    server = await startValkey(['--dir', folder]);
    const settings = someSettings(server);
    [one, other] = await Promise.all([openValkey(settings), openValkey(settings)]);
  });
  afterEach(async () => {
    await Promise.all([one.close(), other.close()]);
    await server.kill();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });

  const log = (): string => join(folder, 'appendonlydir', 'appendonly.aof.1.incr.aof');

  it('comes back without the end of its log: told to who is behind on either instance, and all goes on', async () => {
    const told = await Promise.all([follow(one), follow(other)]);
    const kept = await append(one.store, 7);
    // An answered append has been written to the log; where the answers end is where the log is cut.
    const { size } = statSync(log());
    const lost = await append(one.store, 3, 8);
    await eventually(() => told.forEach((each) => expect(each).to.have.length(10)));
    await server.kill();
    truncateSync(log(), size);
    await server.restart();

    const [next] = await eventuallyAppended(other.store, 100);
    expect(next?.n).to.equal(11);
    await eventuallyAppended(one.store, 101);
    await eventually(() => {
      for (const each of told)
        expect(each.map(({ n }) => n)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    });
    expect((await losses(one.store)).map(at)).to.deep.equal([lost[2]]);
    for (const { store } of [one, other]) {
      expect(await consume(store, kept[4]!)).to.deep.equal({
        payloads: ['6', '7', '100', '101'],
        gaps: [{ topic: TOPIC, from: kept[6], to: lost[2], reason: 'storage_rollback' }],
      });
      expect(await consume(store, lost[2]!)).to.deep.equal({ payloads: ['100', '101'], gaps: [] });
    }
  });

  it('is flushed while many append: what follows is told, and all that was lost lies in a gap', async () => {
    const told = await Promise.all([follow(one), follow(other)]);
    const before = await append(one.store, 50);
    const traffic = { isOver: false };
    const appended: Cursor[] = [];
    const publisher = async ({ store }: OpenedValkey): Promise<void> => {
      for (let i = 0; !traffic.isOver; i++) appended.push(...(await append(store, 1, 1000 + i)));
    };
    const publishing = [publisher(one), publisher(one), publisher(other)];
    const admin = connectAsAdmin(server);
    await eventually(() => expect(appended.length).to.be.above(100));
    await admin.flushall();
    admin.disconnect();
    await eventually(async () => expect(await losses(one.store)).not.to.be.empty);
    await delay(50);
    traffic.isOver = true;
    await Promise.all(publishing);

    const stored = await everything(one.store);
    const { last } = await right(one.store.bounds(orders));
    for (const each of told)
      await eventually(() => expect(each[each.length - 1]?.offset).to.equal(last.offset));
    // Everything that is stored was told, in order, to both.
    for (const each of told) expect(each.slice(-stored.length)).to.deep.equal(stored);
    const published = stored.flatMap(({ event }) =>
      event.type === 'MessagePublished' ? [event.payload] : [],
    );
    const { payloads, gaps } = await consume(other.store, before[9]!);
    expect(payloads).to.deep.equal(published);
    expect(gaps.map(({ reason }) => reason)).to.include('stream_reset');
    const lost = [...before.slice(10), ...appended].filter(
      ({ offset }) => !stored.some((each) => each.offset === offset),
    );
    for (const { offset } of lost) {
      expect(gaps.some(({ from, to }) => from.offset < offset && offset <= to.offset)).to.equal(true);
    }
  });

  it('is flushed while nobody appends: restored where somebody follows, and listed again', async () => {
    const told = await follow(other);
    const cursors = await append(one.store, 5);
    await eventually(() => expect(told).to.have.length(5));
    await one.close();
    const admin = connectAsAdmin(server);
    await admin.flushall();
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    admin.disconnect();
    await eventually(async () => expect((await losses(other.store)).map(at)).to.deep.equal([cursors[4]]));
    const listed = await right(other.store.read(CATALOGUE, NO_OFFSET, 10));
    expect(listed.map(({ event }) => event.topic)).to.deep.equal([TOPIC]);
    await append(other.store, 1, 6);
    await eventually(() => expect(told.map(({ n }) => n)).to.deep.equal([1, 2, 3, 4, 5, 6]));
  });

  const eventuallyAppended = async (store: EventStore, payload: number): Promise<readonly Cursor[]> => {
    let appended: readonly Cursor[] = [];
    await eventually(async () => (appended = await append(store, 1, payload)));
    return appended;
  };
});
