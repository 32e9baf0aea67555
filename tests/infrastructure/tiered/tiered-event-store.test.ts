import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { topicStream, type RetentionSettings } from '../../../application/ports/event-store.js';
import {
  BEGINNING,
  NO_OFFSET,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../../domain/message/offset.js';
import type { TopicEvent } from '../../../domain/topic/topic-events.js';
import { TieredEventStore } from '../../../infrastructure/tiered/tiered-event-store.js';
import { describeEventFeed } from '../../contracts/event-feed.contract.js';
import { describeEventStore } from '../../contracts/event-store.contract.js';
import { aTopic, messages } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { payloadOf } from '../../support/payload-of.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { right } from '../../support/task-either.js';
import { openSharedValkey, openWithDisasters, type OpenedValkey } from '../valkey/open-valkey.js';
import { commandCalls, connectAsAdmin } from '../valkey/valkey-admin.js';

const RETENTION_MS = 600_000;

const openTiered = (valkey: OpenedValkey, clock = new ManualClock(Date.now()), bytesMax = 64 * 1024 * 1024) =>
  new TieredEventStore(valkey.store, valkey.feed, clock, { retentionMs: RETENTION_MS, bytesMax });

const open = async (retention?: RetentionSettings) => {
  const { valkey, lose, pass } = await openWithDisasters(retention);
  const store = openTiered(valkey);
  const close = (): Promise<void> => {
    store.close();
    return valkey.close();
  };
  return { store, feed: store, lose, pass, close };
};

describeEventStore('TieredEventStore', open);
describeEventFeed('TieredEventStore', () => open());

describe('TieredEventStore', () => {
  const orders = topicStream(aTopic('orders'));
  let valkey: OpenedValkey;
  let admin: Redis;
  let clock: ManualClock;
  let store: TieredEventStore;

  beforeEach(async () => {
    valkey = await openSharedValkey();
    admin = connectAsAdmin(await sharedValkey());
    clock = new ManualClock(Date.now());
    store = openTiered(valkey, clock);
  });
  afterEach(async () => {
    store.close();
    admin.disconnect();
    await valkey.close();
  });

  /** Follows and waits until `count` messages that are appended now have been told. */
  const followed = async (count: number): Promise<readonly Cursor[]> => {
    let told = 0;
    await right(store.follow(orders, (events) => (told += events.length)).start);
    const cursors = await right(store.append(orders, messages(count)));
    await eventually(() => expect(told).to.equal(count));
    return cursors;
  };

  const reads = (): Promise<number> => commandCalls(admin, 'xrange');

  it('reads what is followed without asking Valkey', async () => {
    const cursors = await followed(100);
    const before = await reads();
    const payloads: string[] = [];
    for (const after of [BEGINNING, ...cursors.slice(0, -1)]) {
      const [peeked, read] = [store.peek(orders, after, 1), await right(store.read(orders, after.offset, 1))];
      expect(peeked).to.deep.equal(read);
      payloads.push(...read.map(({ event }) => payloadOf(event)));
    }
    expect(payloads).to.deep.equal(messages(100).map(payloadOf));
    expect(await reads()).to.equal(before);
  });

  it('asks Valkey for what was there before it was followed, and finds no hole where the two meet', async () => {
    await right(store.append(orders, messages(50)));
    await followed(50);
    expect(store.peek(orders, BEGINNING, 10)).to.equal(undefined);
    const seen: number[] = [];
    for (let after = NO_OFFSET; ;) {
      const page = await right(store.read(orders, after, 7));
      if (page.length === 0) break;
      seen.push(...page.map(({ n }) => n));
      after = page[page.length - 1]!.offset;
    }
    expect(seen).to.deep.equal(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  it('tells a follower of a message when it can be peeked at already', async () => {
    const [told, peeked]: [unknown[], unknown[]] = [[], []];
    const onEvents = (events: readonly Recorded<TopicEvent>[]): void => {
      const { offset, n } = events[0]!;
      told.push(...events);
      peeked.push(...(store.peek(orders, { offset: (offset - 1) as Offset, n: n - 1 }, 10) ?? []));
    };
    await right(store.follow(orders, onEvents).start);
    for (let i = 0; i < 5; i++) await right(store.append(orders, messages(1)));
    await eventually(() => expect(told).to.have.length(5));
    expect(peeked).to.deep.equal(told);
  });

  it('asks Valkey again for what is too old to be held here, also where nothing happens any more', async () => {
    const cursors = await followed(10);
    clock.advance(RETENTION_MS + 2_000);
    expect(store.peek(orders, BEGINNING, 10)).to.equal(undefined);
    expect(store.peek(orders, cursors[4]!, 10)).to.equal(undefined);
    expect(await right(store.read(orders, NO_OFFSET, 100))).to.have.length(10);
  });

  it('does not hold what was trimmed', async () => {
    const cursors = await followed(10);
    await right(store.trim(orders, cursors[5]!.offset));
    expect(store.peek(orders, BEGINNING, 10)).to.equal(undefined);
    const read = await right(store.read(orders, NO_OFFSET, 100));
    expect(read.map(({ n }) => n)).to.deep.equal([6, 7, 8, 9, 10]);
  });

  it('holds nothing anew of what was removed, and reads on from Valkey until it holds what follows', async () => {
    const cursors = await followed(10);
    await right(store.remove(orders, [cursors[3]!.offset, cursors[9]!.offset]));
    for (const after of [BEGINNING, ...cursors]) {
      expect(store.peek(orders, after, 10)).to.equal(undefined);
      const read = await right(store.read(orders, after.offset, 100));
      const kept = [1, 2, 3, 5, 6, 7, 8, 9].filter((n) => n > after.n);
      expect(read.map(({ n }) => n)).to.deep.equal(kept);
    }
    await right(store.append(orders, messages(2)));
    await eventually(() => expect(store.peek(orders, cursors[9]!, 10)).to.have.length(2));
  });

  it('keeps holding a topic from which it was removed what is not held here', async () => {
    const old = await right(store.append(orders, messages(3)));
    const [first] = await followed(5);
    await right(store.remove(orders, [old[1]!.offset]));
    expect(store.peek(orders, { offset: (first!.offset - 1) as Offset, n: 3 }, 10)).to.have.length(5);
  });

  it('tells its followers what is stored once, and nothing of a duplicate', async () => {
    const told: number[] = [];
    await right(store.follow(orders, (events) => told.push(...events.map(({ n }) => n))).start);
    const item = (key: string) => ({
      event: messages(1)[0]!,
      once: { key, fingerprint: 'f', windowMs: 60_000 },
    });
    await right(store.appendOnce(orders, [item('a'), item('a'), item('b')]));
    await right(store.appendOnce(orders, [item('a'), item('c')]));
    await eventually(() => expect(told).to.deep.equal([1, 2, 3]));
  });

  it('holds nothing of a topic that nobody follows any more', async () => {
    let told = 0;
    const followings = [1, 2].map(() => store.follow(orders, (events) => (told += events.length)));
    await Promise.all(followings.map(({ start }) => right(start)));
    await right(store.append(orders, messages(3)));
    await eventually(() => expect(told).to.equal(6));
    followings[0]!.stop();
    followings[0]!.stop();
    expect(store.peek(orders, BEGINNING, 10)).to.have.length(3);
    followings[1]!.stop();
    expect(store.peek(orders, BEGINNING, 10)).to.equal(undefined);
    const channel = valkey.names.channel(orders);
    await eventually(async () => expect(await admin.pubsub('NUMSUB', channel)).to.deep.equal([channel, 0]));
  });

  it('a read looks when it is run, not when it is made', async () => {
    const read = store.read(orders, NO_OFFSET, 100);
    await followed(3);
    expect(await right(read)).to.have.length(3);
    await right(store.append(orders, messages(1)));
    await eventually(async () => expect(await right(read)).to.have.length(4));
  });

  it('leaves no timer behind when it is closed', () => {
    expect(clock.waiting).to.equal(1);
    store.close();
    expect(clock.waiting).to.equal(0);
  });
});
