import { expect } from 'chai';
import { CATALOGUE, subscriptionStream, topicStream } from '../../../application/ports/event-store.js';
import { BEGINNING, NO_OFFSET } from '../../../domain/message/offset.js';
import { MemoryEventStore } from '../../../infrastructure/memory/memory-event-store.js';
import { describeEventStore } from '../../contracts/event-store.contract.js';
import { aMessage, anIdentity, aTopic, someRetention } from '../../support/builders.js';
import { ManualClock } from '../../support/manual-clock.js';
import { right } from '../../support/task-either.js';

describeEventStore('MemoryEventStore', (retention) => {
  const store = new MemoryEventStore(new ManualClock(), retention);
  const close = (): Promise<void> => {
    store.close();
    return Promise.resolve();
  };
  return Promise.resolve({ store, close });
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

  it('leaves no timer behind when it is closed', () => {
    expect(clock.waiting).to.equal(1);
    store.close();
    expect(clock.waiting).to.equal(0);
  });
});
