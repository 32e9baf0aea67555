import { expect } from 'chai';
import { CATALOGUE, subscriptionStream, topicStream } from '../../../application/ports/event-store.js';
import { BEGINNING, NO_OFFSET } from '../../../domain/message/offset.js';
import { MemoryEventStore } from '../../../infrastructure/memory/memory-event-store.js';
import { describeEventStore } from '../../contracts/event-store.contract.js';
import { aMessage, anIdentity, aTopic, someRetention } from '../../support/builders.js';
import { ManualClock } from '../../support/manual-clock.js';
import { left, right } from '../../support/task-either.js';

describeEventStore('MemoryEventStore', (retention) => {
  const clock = new ManualClock();
  const store = new MemoryEventStore(clock, retention);
  const pass = (ms: number): Promise<void> => {
    clock.advance(ms);
    return Promise.resolve();
  };
  const lose = (): Promise<void> => pass(retention.messagesMs + retention.subscriptionMs + 2_000);
  const close = (): Promise<void> => {
    store.close();
    return Promise.resolve();
  };
  return Promise.resolve({ store, lose, pass, close });
});

describe('MemoryEventStore forgets by time', () => {
  const orders = topicStream(aTopic('orders'));
  const journal = subscriptionStream(anIdentity());
  let clock: ManualClock;
  let store: MemoryEventStore;

  beforeEach(() => {
    clock = new ManualClock();
    store = new MemoryEventStore(clock, someRetention({ messagesMs: 60_000, subscriptionMs: 100_000 }));
  });
  afterEach(() => store.close());

  it('forgets messages that are too old, in a topic that is written to and in one that is not', async () => {
    await right(store.append(orders, [aMessage()]));
    clock.advance(30_000);
    const [second] = await right(store.append(orders, [aMessage()]));
    clock.advance(31_000);
    expect(await right(store.read(orders, NO_OFFSET, 10))).to.have.length(1);
    clock.advance(31_000);
    expect(await right(store.read(orders, NO_OFFSET, 10))).to.deep.equal([]);
    expect((await right(store.bounds(orders))).last).to.deep.equal(second);
  });

  it('forgets a subscription that has been silent for long enough, and not one that has not', async () => {
    const other = subscriptionStream(anIdentity({ clientId: 'laptop' }));
    await right(store.append(journal, [{ type: 'SessionStarted', session: 'a' }]));
    clock.advance(50_000);
    await right(store.append(other, [{ type: 'SessionStarted', session: 'b' }]));
    clock.advance(52_000);
    expect((await right(store.bounds(journal))).last).to.deep.equal(BEGINNING);
    expect((await right(store.bounds(other))).last.n).to.equal(1);
  });

  it('forgets an idle topic and its place in the catalogue, and starts it again with higher offsets', async () => {
    const [before] = await right(store.append(orders, [aMessage()]));
    await right(store.append(topicStream(aTopic('other')), [aMessage()]));
    clock.advance(155_000);
    expect((await right(store.bounds(orders))).last).to.deep.equal(before);
    await right(store.append(topicStream(aTopic('other')), [aMessage()]));
    clock.advance(10_000);
    expect((await right(store.bounds(orders))).last).to.deep.equal(BEGINNING);
    const catalogue = await right(store.read(CATALOGUE, NO_OFFSET, 10));
    expect(catalogue.map(({ event }) => event.topic)).to.deep.equal(['other']);
    const [after] = await right(store.append(orders, [aMessage()]));
    expect(after!.n).to.equal(1);
    expect(after!.offset).to.be.above(before!.offset);
    const again = await right(store.read(CATALOGUE, NO_OFFSET, 10));
    expect(again.map(({ n, event }) => [n, event.topic])).to.deep.equal([
      [2, 'other'],
      [3, 'orders'],
    ]);
  });

  it('comes round to every stream, however many there are', async () => {
    for (let i = 0; i < 2_500; i++) await right(store.append(topicStream(aTopic(`t.${i}`)), [aMessage()]));
    clock.advance(170_000);
    expect(await right(store.read(CATALOGUE, NO_OFFSET, 10))).to.deep.equal([]);
  });

  it('forgets idempotency keys whose window is over, also where nothing is appended any more', async () => {
    const keep = { event: aMessage(), once: { key: 'keep', fingerprint: 'f', windowMs: 3_600_000 } };
    await right(store.appendOnce(orders, [keep]));
    for (let i = 0; i < 25; i++) {
      const items = Array.from({ length: 1_000 }, (_, k) => ({
        event: aMessage(),
        once: { key: `${i}.${k}`, fingerprint: 'f', windowMs: 1_000 },
      }));
      await right(store.appendOnce(orders, items));
    }
    expect(store.rememberedKeys).to.equal(25_001);
    clock.advance(10_000);
    expect(store.rememberedKeys).to.equal(1);
    expect(await right(store.appendOnce(orders, [keep]))).to.have.nested.property('[0]._tag', 'Duplicate');
  });

  it('leaves no timer behind when it is closed', () => {
    expect(clock.waiting).to.equal(1);
    store.close();
    expect(clock.waiting).to.equal(0);
  });
});

describe('MemoryEventStore', () => {
  const orders = topicStream(aTopic('orders'));
  let store: MemoryEventStore;

  beforeEach(() => {
    store = new MemoryEventStore(new ManualClock(), someRetention());
  });
  afterEach(() => store.close());

  it('refuses to sync: it has no disk, and says so instead of answering stored', async () => {
    const once = { key: 'a', fingerprint: 'f', windowMs: 1_000 };
    for (const refused of [
      await left(store.append(orders, [aMessage()], { durability: 'fsync' })),
      await left(store.appendOnce(orders, [{ event: aMessage(), once }], { durability: 'fsync' })),
    ]) {
      expect(refused).to.include({ outcome: 'not_stored', reason: 'not_durable' });
    }
    expect(await right(store.read(orders, NO_OFFSET, 10))).to.deep.equal([]);
    const [outcome] = await right(store.appendOnce(orders, [{ event: aMessage(), once }]));
    expect(outcome).to.include({ _tag: 'Stored' });
  });

  it('tells who listens of what is stored once, and of nothing that is a duplicate', async () => {
    const told: string[] = [];
    store.onAppended((key, recorded) => told.push(...recorded.map(({ n }) => `${key} ${n}`)));
    const item = { event: aMessage(), once: { key: 'a', fingerprint: 'f', windowMs: 1_000 } };
    await right(store.appendOnce(orders, [item, item, { event: aMessage() }]));
    await right(store.appendOnce(orders, [item]));
    expect(told).to.deep.equal(['topic:orders 1', 'topics 1', 'topic:orders 2']);
  });
});
