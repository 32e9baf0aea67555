import { expect } from 'chai';
import { either as E } from 'fp-ts';
import type { Membership, TopicListener } from '../../application/live-topics.js';
import type { MessageBatch } from '../../application/ports/client-connection.js';
import { BEGINNING } from '../../domain/message/offset.js';
import { aTopic } from '../support/builders.js';
import { anInstance, Backend, type Instance } from '../support/instance.js';
import { settle } from '../support/settle.js';

interface Recorder extends TopicListener {
  readonly batches: MessageBatch[];
}

const aListener = (lag = 0): Recorder => {
  const batches: MessageBatch[] = [];
  return { batches, onBatch: (batch) => batches.push(batch), lag: () => lag };
};

describe('Live topics', () => {
  const LINGER_MS = 30_000;
  const topic = aTopic('orders');
  let backend: Backend;
  let instance: Instance;

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  const join = async (listener: TopicListener): Promise<Membership> => {
    const membership = instance.liveTopics.join(topic, listener);
    await membership.joined;
    return membership;
  };

  it('know their head once joined, whether there are messages or not', async () => {
    expect((await join(aListener())).head()).to.deep.equal(BEGINNING);
    await backend.publish('other', 'a', 'b');
    const membership = instance.liveTopics.join(aTopic('other'), aListener());
    expect(membership.head()).to.be.undefined;
    expect(E.isRight(await membership.joined)).to.be.true;
    expect(membership.head()?.n).to.equal(2);
  });

  it('tell every listener the same batch, in order', async () => {
    const listeners = [aListener(), aListener()];
    for (const listener of listeners) await join(listener);
    await backend.publish('orders', 'a', 'b');
    await backend.publish('orders', 'c');
    const [one, other] = listeners;
    expect(one!.batches.map(({ cursors }) => cursors.map(({ n }) => n))).to.deep.equal([[1, 2], [3]]);
    expect(one!.batches[0]).to.equal(other!.batches[0]);
    expect(one!.batches[0]!.messages.map(({ event }) => event.payload)).to.deep.equal(['a', 'b']);
  });

  it('keep their head up to date', async () => {
    const membership = await join(aListener());
    await backend.publish('orders', 'a', 'b');
    expect(membership.head()?.n).to.equal(2);
  });

  it('follow a topic once, however many listen', async () => {
    const memberships = await Promise.all([join(aListener()), join(aListener()), join(aListener())]);
    expect(instance.feed.followed).to.equal(1);
    for (const membership of memberships) membership.leave();
  });

  it('tell nothing to who has left, also while others are told', async () => {
    const second = aListener();
    const memberships: Membership[] = [];
    await join({ onBatch: () => (memberships[0]?.leave(), 0), lag: () => 0 });
    memberships.push(await join(second));
    await backend.publish('orders', 'a');
    expect(second.batches).to.deep.equal([]);
  });

  it('go on following for a while after the last listener, and then stop', async () => {
    (await join(aListener())).leave();
    await backend.pass(LINGER_MS - 100);
    expect(instance.feed.followed).to.equal(1);
    await backend.pass(100);
    expect(instance.feed.followed).to.equal(0);
  });

  it('do not stop where somebody came back meanwhile, or where one leaves twice', async () => {
    const first = await join(aListener());
    first.leave();
    await backend.pass(LINGER_MS - 100);
    const listener = aListener();
    await join(listener);
    first.leave();
    await backend.pass(LINGER_MS * 2);
    await backend.publish('orders', 'a');
    expect(listener.batches).to.have.length(1);
  });

  it('follow anew after they had stopped', async () => {
    (await join(aListener())).leave();
    await backend.pass(LINGER_MS);
    await backend.publish('orders', 'a');
    const listener = aListener();
    const membership = await join(listener);
    expect(membership.head()?.n).to.equal(1);
    await backend.publish('orders', 'b');
    expect(listener.batches.flatMap(({ cursors }) => cursors.map(({ n }) => n))).to.deep.equal([2]);
  });

  it('tell everybody who joined that the feed cannot be reached, and let the next one try anew', async () => {
    instance.feed.isReachable = false;
    const listener = aListener();
    const [one, other] = [
      instance.liveTopics.join(topic, listener),
      instance.liveTopics.join(topic, aListener()),
    ];
    expect([await one.joined, await other.joined].every(E.isLeft)).to.be.true;
    instance.feed.isReachable = true;
    const membership = await join(listener);
    const timers = backend.clock.waiting;
    one.leave();
    other.leave();
    expect(backend.clock.waiting).to.equal(timers);
    await backend.pass(LINGER_MS * 2);
    await backend.publish('orders', 'a');
    expect(membership.head()?.n).to.equal(1);
    expect(listener.batches).to.have.length(1);
  });

  it('count what was written to connections, with its age', async () => {
    await join({ onBatch: ({ messages }) => messages.length, lag: () => 0 });
    await join({ onBatch: () => 0, lag: () => 0 });
    await backend.publish('orders', 'a', 'b');
    expect(instance.metrics.delivered.websocket).to.equal(2);
    expect(instance.metrics.latencies).to.deep.equal([0]);
  });

  it('observe the depth of the slowest listener of each topic', async () => {
    await join(aListener(3));
    await join(aListener(7));
    await settle();
    expect(instance.metrics.queueDepths).to.deep.equal({ orders: 7 });
  });
});
