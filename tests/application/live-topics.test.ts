import { expect } from 'chai';
import { either as E } from 'fp-ts';
import type { Membership, TopicListener } from '../../application/live-topics.js';
import type { MessageBatch } from '../../application/ports/client-connection.js';
import { topicStream } from '../../application/ports/event-store.js';
import { BEGINNING } from '../../domain/message/offset.js';
import { aCursor, aMessage, aTopic } from '../support/builders.js';
import { anInstance, Backend, type Instance } from '../support/instance.js';
import { settle } from '../support/settle.js';
import { right } from '../support/task-either.js';

interface Recorder extends TopicListener {
  readonly batches: MessageBatch[];
  losses: number;
}

const aListener = (lag = 0): Recorder => {
  const batches: MessageBatch[] = [];
  const recorder: Recorder = {
    batches,
    losses: 0,
    onBatch: (batch) => batches.push(batch),
    onLost: () => (recorder.losses += 1),
    lag: () => lag,
  };
  return recorder;
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

  it('tell that messages were lost, and no batch with it; the head is at its end', async () => {
    const listeners = [aListener(), aListener()];
    const [membership] = await Promise.all(listeners.map(join));
    await backend.publish('orders', 'a');
    const events = [
      aMessage(),
      { type: 'MessagesLost', reason: 'storage_rollback' } as const,
      aMessage({ payload: 'b' }),
    ];
    await right(backend.store.append(topicStream(topic), events));
    await settle();
    expect(listeners.map(({ losses, batches }) => [losses, batches.length])).to.deep.equal([
      [1, 1],
      [1, 1],
    ]);
    expect(membership?.head()?.n).to.equal(4);
    await backend.publish('orders', 'c');
    expect(listeners[0]!.batches[1]?.cursors.map(({ n }) => n)).to.deep.equal([5]);
  });

  describe('keep a page for the next one who catches up', () => {
    const aPage = (from: number, payload = 'x'): MessageBatch['messages'] => [
      { ...aCursor(from), event: aMessage({ payload }) },
    ];
    const isKept = (messages: MessageBatch['messages'], batch: MessageBatch): boolean =>
      instance.liveTopics.page(topic, messages) === batch;

    it('for a few seconds', async () => {
      const first = instance.liveTopics.page(topic, aPage(1));
      await backend.pass(3_000);
      const second = instance.liveTopics.page(topic, aPage(2));
      expect(isKept(aPage(1), first)).to.equal(true);
      await backend.pass(3_000);
      expect(isKept(aPage(2), second)).to.equal(true);
      expect(isKept(aPage(1), first)).to.equal(false);
    });

    it('and leave no timer behind when their time has passed', async () => {
      const timers = backend.clock.waiting;
      for (let i = 1; i <= 100; i++) instance.liveTopics.page(topic, aPage(i));
      expect(backend.clock.waiting).to.equal(timers + 1);
      await backend.pass(10_000);
      expect(backend.clock.waiting).to.equal(timers);
    });

    it('up to a number of them, the oldest going first', () => {
      const first = instance.liveTopics.page(topic, aPage(1));
      const second = instance.liveTopics.page(topic, aPage(2));
      for (let i = 3; i <= 65; i++) instance.liveTopics.page(topic, aPage(i));
      expect(isKept(aPage(2), second)).to.equal(true);
      expect(isKept(aPage(1), first)).to.equal(false);
    });

    it('up to a number of characters: large ones do not add up', () => {
      const large = 'x'.repeat(5 * 1024 * 1024);
      const pages = [1, 2, 3, 4].map((n) => instance.liveTopics.page(topic, aPage(n, large)));
      expect(isKept(aPage(4, large), pages[3]!)).to.equal(true);
      expect(isKept(aPage(2, large), pages[1]!)).to.equal(true);
      expect(isKept(aPage(1, large), pages[0]!)).to.equal(false);
    });
  });

  it('follow a topic once, however many listen', async () => {
    const memberships = await Promise.all([join(aListener()), join(aListener()), join(aListener())]);
    expect(instance.feed.followed).to.equal(1);
    for (const membership of memberships) membership.leave();
  });

  it('tell nothing to who has left, also while others are told', async () => {
    const second = aListener();
    const memberships: Membership[] = [];
    await join({ ...aListener(), onBatch: () => (memberships[0]?.leave(), 0) });
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
    await join({ ...aListener(), onBatch: ({ messages }) => messages.length });
    await join({ ...aListener(), onBatch: () => 0 });
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
