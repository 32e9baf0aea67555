import { expect } from 'chai';
import { Caller } from '../../application/poll-messages.js';
import { topicStream } from '../../application/ports/event-store.js';
import { aMessage, aTopic } from '../support/builders.js';
import { anInstance, Backend, idsOf, payloadsOf, type Instance } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { settle } from '../support/settle.js';
import { left, right } from '../support/task-either.js';
import { isCommit, isTopicRead, type Fault } from '../support/unreliable-store.js';

const EARLIEST = { at: 'earliest' } as const;
const numbers = (from: number, to: number): readonly string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => String(from + i));

/** Where a promise stands, without waiting for it. */
const watch = <A>(promise: Promise<A>): { readonly promise: Promise<A>; isOver: boolean } => {
  const watched = { promise, isOver: false };
  void promise.then(() => (watched.isOver = true));
  return watched;
};

describe('A poll', () => {
  let backend: Backend;
  let instance: Instance;
  const publish = (topic: string, ...payloads: readonly string[]) => backend.publish(topic, ...payloads);

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  describe('with messages there', () => {
    it('answers at once with what is there, as first attempts', async () => {
      await publish('orders', 'a', 'b');
      const { messages, gaps } = await instance.poll({ start: EARLIEST, timeoutMs: 30_000 });
      expect(
        messages.map(({ topic, message, attempt }) => [topic, message.event.payload, attempt]),
      ).to.deep.equal([
        ['orders', 'a', 1],
        ['orders', 'b', 1],
      ]);
      expect(gaps).to.deep.equal([]);
    });

    it('keeps for the next poll what was published after the first', async () => {
      expect(payloadsOf(await instance.poll())).to.deep.equal([]);
      await publish('orders', 'a');
      expect(payloadsOf(await instance.poll())).to.deep.equal(['a']);
    });

    it('goes on where the last one ended, on whichever instance', async () => {
      await publish('orders', ...numbers(1, 6));
      const first = await instance.poll({ start: EARLIEST, max: 2 });
      const second = await anInstance(backend).poll({ max: 2 });
      const third = await instance.poll({ max: 2 });
      expect([first, second, third].flatMap(payloadsOf)).to.deep.equal(numbers(1, 6));
    });

    it('answers with no more than was asked for, over what is due again and what is new', async () => {
      await publish('orders', ...numbers(1, 3));
      await instance.poll({ start: EARLIEST, ackTimeoutMs: 1_000 });
      await backend.pass(1_000);
      await publish('orders', ...numbers(4, 9));
      const { messages } = await instance.poll({ max: 5 });
      expect(messages.map(({ message, attempt }) => `${message.event.payload}/${attempt}`)).to.deep.equal([
        ...['1/2', '2/2', '3/2'],
        ...['4/1', '5/1'],
      ]);
      expect((await instance.poll({ max: 2 })).messages).to.have.length(2);
    });

    it('answers with a few megabytes at the most, and leaves the rest to the next poll', async () => {
      const mebibyte = `"${'x'.repeat(1024 * 1024 - 2)}"`;
      await publish('orders', ...numbers(1, 6).map(() => mebibyte));
      expect((await instance.poll({ start: EARLIEST, max: 100 })).messages).to.have.length(4);
      expect((await instance.poll({ max: 100 })).messages).to.have.length(2);
    });

    it('answers with more than one page where more is asked for', async () => {
      await publish('orders', ...numbers(1, 350));
      const roomy = anInstance(backend, { settings: { maxInFlight: 1_000 } });
      expect(payloadsOf(await roomy.poll({ start: EARLIEST, max: 300 }))).to.deep.equal(numbers(1, 300));
    });

    it('has recorded what it answers before it answers', async () => {
      await publish('orders', 'a');
      const answer = await instance.poll({ start: EARLIEST });
      const position = (await instance.recorded()).positions.get(aTopic('orders'));
      expect(position?.inFlight.flatMap(({ cursors }) => cursors.map(({ offset }) => offset))).to.deep.equal(
        idsOf(answer).map(({ offset }) => offset),
      );
    });

    it('skips what has expired, and is not woken by it', async () => {
      const expired = aMessage({ expiresAt: backend.clock.now() });
      await backend.publish('orders', expired, 'a', expired);
      expect(payloadsOf(await instance.poll({ start: EARLIEST }))).to.deep.equal(['a']);
      const waiting = watch(instance.poll({ timeoutMs: 1_000 }));
      await backend.publish('orders', expired);
      expect(waiting.isOver).to.be.false;
      await backend.publish('orders', 'b');
      expect(payloadsOf(await waiting.promise)).to.deep.equal(['b']);
    });

    it('tells a gap once', async () => {
      await instance.poll();
      const ids = await publish('orders', ...numbers(1, 4));
      await right(backend.store.trim(topicStream(aTopic('orders')), ids[2]!.offset));
      const { messages, gaps } = await instance.poll();
      expect(messages).to.have.length(2);
      expect(gaps.map(({ topic, from, to, reason }) => [topic, from.n, to.n, reason])).to.deep.equal([
        ['orders', 0, 2, 'retention'],
      ]);
      expect((await instance.poll()).gaps).to.deep.equal([]);
    });

    it('answers at once where it has nothing but a gap to tell', async () => {
      await instance.poll();
      const ids = await publish('orders', 'a');
      await right(backend.store.trim(topicStream(aTopic('orders')), (ids[0]!.offset + 1) as never));
      expect((await instance.poll({ timeoutMs: 30_000 })).gaps).to.have.length(1);
    });

    it('counts what it answers with', async () => {
      await publish('orders', 'a', 'b');
      await backend.pass(200);
      await instance.poll({ start: EARLIEST });
      expect(instance.metrics.delivered.long_poll).to.equal(2);
      expect(instance.metrics.latencies).to.deep.equal([200]);
      expect(instance.metrics.open.long_poll).to.equal(0);
    });
  });

  describe('over several topics', () => {
    for (const topics of [
      ['busy', 'quiet'],
      ['quiet', 'busy'],
    ]) {
      const wanted = { topics, start: EARLIEST };

      it(`leaves room for a quiet topic beside a busy one (${topics.join()})`, async () => {
        await publish('busy', ...numbers(1, 50));
        await publish('quiet', 'q');
        const answer = await instance.poll({ ...wanted, max: 10 });
        expect(answer.messages).to.have.length(10);
        expect(payloadsOf(answer)).to.include('q');
      });

      it(`leaves room for a quiet topic where few may be in flight (${topics.join()})`, async () => {
        await publish('busy', ...numbers(1, 50));
        await publish('quiet', 'q');
        const answer = await instance.poll({ ...wanted, maxInFlight: 4 });
        expect(answer.messages).to.have.length(4);
        expect(payloadsOf(answer)).to.include('q');
      });

      it(`gets to every topic, even one message at a time (${topics.join()})`, async () => {
        await publish('busy', ...numbers(1, 20));
        await publish('quiet', 'q');
        const got: string[] = [];
        for (let i = 0; i < 6; i++) {
          const answer = await instance.poll({ ...wanted, max: 1 });
          got.push(...payloadsOf(answer));
          await right(instance.acknowledge(idsOf(answer)));
        }
        expect(got).to.include('q');
      });
    }

    it('answers only with the topics it asks for, and keeps the others', async () => {
      await instance.poll({ topics: ['a', 'b'] });
      await publish('a', '1');
      await publish('b', '2');
      expect(payloadsOf(await instance.poll({ topics: ['b'] }))).to.deep.equal(['2']);
      expect(payloadsOf(await instance.poll({ topics: ['a'] }))).to.deep.equal(['1']);
    });

    it('answers with no topic any more that its principal may not receive', async () => {
      await instance.poll({ topics: ['a', 'b'] });
      await publish('a', '1');
      await publish('b', '2');
      const principal = aPrincipal({ subscribe: ['b'] });
      expect(payloadsOf(await instance.poll({ principal, topics: ['>'] }))).to.deep.equal(['2']);
      expect(await left(instance.polling({ principal, topics: ['a'] }))).to.deep.include({
        _tag: 'Forbidden',
        topic: 'a',
      });
    });
  });

  describe('that waits', () => {
    it('answers as soon as something is published', async () => {
      const waiting = watch(instance.poll({ timeoutMs: 30_000 }));
      await backend.pass(5_000);
      expect(waiting.isOver).to.be.false;
      await publish('orders', 'a');
      expect(payloadsOf(await waiting.promise)).to.deep.equal(['a']);
    });

    it('answers with nothing at the timeout, and leaves nothing behind', async () => {
      const timers = backend.clock.waiting;
      const waiting = watch(instance.poll({ timeoutMs: 2_000 }));
      await backend.pass(1_900);
      expect(waiting.isOver).to.be.false;
      await backend.pass(100);
      expect(await waiting.promise).to.deep.include({ messages: [], gaps: [] });
      await backend.pass(31_000);
      expect(instance.feed.followed).to.equal(0);
      expect(backend.clock.waiting).to.equal(timers);
    });

    for (const where of ['before it joins', 'while it reads', 'while it records'] as const) {
      it(`misses nothing that is published ${where}`, async () => {
        instance.store.canPeek = false;
        await instance.poll({ topics: ['orders', 'other'] });
        await publish('other', 'o');
        const release = instance.store.hold((call) => {
          if (where === 'while it reads') return isTopicRead(call);
          return where === 'while it records' ? isCommit(call) : call.operation === 'read';
        });
        const waiting = watch(instance.poll({ topics: ['orders', 'other'], timeoutMs: 30_000 }));
        await settle();
        await publish('orders', 'a');
        release();
        const answer = await waiting.promise;
        const next = await instance.poll({ topics: ['orders', 'other'] });
        expect([answer, next].flatMap(payloadsOf)).to.have.members(['o', 'a']);
      });
    }

    it('answers when an acknowledgement is overdue', async () => {
      await publish('orders', 'a');
      await instance.poll({ start: EARLIEST, ackTimeoutMs: 1_000 });
      const waiting = watch(instance.poll({ timeoutMs: 30_000 }));
      await backend.pass(900);
      expect(waiting.isOver).to.be.false;
      await backend.pass(100);
      expect((await waiting.promise).messages.map(({ attempt }) => attempt)).to.deep.equal([2]);
    });

    it('answers when there is room again, wherever that was acknowledged', async () => {
      const ids = await publish('orders', 'a', 'b');
      await instance.poll({ start: EARLIEST, maxInFlight: 1 });
      const waiting = watch(instance.poll({ timeoutMs: 30_000 }));
      await backend.pass(2_000);
      expect(waiting.isOver).to.be.false;
      await right(anInstance(backend).acknowledge([ids[0]!]));
      await backend.pass(1_000);
      expect(payloadsOf(await waiting.promise)).to.deep.equal(['b']);
    });

    it('does not read on and on while there is no room', async () => {
      await publish('orders', 'a', 'b');
      await instance.poll({ start: EARLIEST, maxInFlight: 1 });
      let calls = 0;
      instance.store.fault = () => void (calls += 1);
      const waiting = instance.poll({ timeoutMs: 10_000 });
      await backend.pass(10_000);
      await waiting;
      expect(calls).to.be.below(20);
    });

    it('answers with topics that come into being while it waits', async () => {
      const waiting = watch(instance.poll({ topics: ['orders.>'], timeoutMs: 30_000 }));
      await settle();
      await publish('orders.eu', 'a');
      expect(payloadsOf(await waiting.promise)).to.deep.equal(['a']);
      await publish('orders.eu', 'b');
      expect(payloadsOf(await instance.poll({ topics: ['orders.>'] }))).to.deep.equal(['b']);
    });

    it('misses no topic that comes into being while it opens', async () => {
      await instance.poll({ topics: ['orders.>'], clientId: 'tv' });
      const release = instance.store.hold(isCommit);
      const waiting = watch(instance.poll({ topics: ['orders.>'], timeoutMs: 30_000 }));
      await settle();
      await publish('orders.eu', 'a');
      release();
      await settle();
      expect(waiting.isOver).to.be.true;
      expect(payloadsOf(await waiting.promise)).to.deep.equal(['a']);
    });

    it('keeps to the grants for topics that come into being', async () => {
      const principal = aPrincipal({ subscribe: ['orders.eu'] });
      const waiting = watch(instance.poll({ principal, topics: ['orders.>'], timeoutMs: 30_000 }));
      await settle();
      await publish('orders.us', 'x');
      expect(waiting.isOver).to.be.false;
      await publish('orders.eu', 'a');
      expect(payloadsOf(await waiting.promise)).to.deep.equal(['a']);
    });

    it('is answered when the service drains, as is every later one', async () => {
      const waiting = [1, 2, 3].map((i) => instance.poll({ clientId: `c${i}`, timeoutMs: 30_000 }));
      await settle();
      const release = instance.store.hold(isCommit);
      const opening = instance.poll({ clientId: 'c4', timeoutMs: 30_000 });
      await settle();
      instance.polls.drain();
      release();
      for (const poll of [...waiting, opening]) expect(payloadsOf(await poll)).to.deep.equal([]);
      expect(payloadsOf(await instance.poll({ timeoutMs: 30_000 }))).to.deep.equal([]);
    });

    it('tells the depth of its queue', async () => {
      await publish('orders', 'a');
      await instance.poll({ start: EARLIEST });
      void instance.poll({ timeoutMs: 30_000 });
      await settle();
      expect(instance.metrics.queueDepths).to.deep.equal({ orders: 1 });
    });
  });

  describe('whose client hangs up', () => {
    it('ends, takes nothing, and frees its place', async () => {
      const caller = new Caller();
      const waiting = instance.poll({ timeoutMs: 30_000 }, caller);
      await settle();
      caller.hangUp();
      expect(payloadsOf(await waiting)).to.deep.equal([]);
      expect(instance.metrics.open.long_poll).to.equal(0);
      await publish('orders', 'a');
      expect((await instance.poll()).messages.map(({ attempt }) => attempt)).to.deep.equal([1]);
    });

    it('leaves nothing behind at the caller that may hang up', async () => {
      const caller = new Caller();
      await instance.poll({}, caller);
      expect(caller.waitsFor).to.be.undefined;
    });

    it('takes nothing where it hung up before anything was read', async () => {
      await publish('orders', 'a');
      const wanted = { start: EARLIEST, guarantee: 'at_most_once' } as const;
      const hungUp = new Caller();
      hungUp.hangUp();
      expect(payloadsOf(await instance.poll(wanted, hungUp))).to.deep.equal([]);
      expect(payloadsOf(await instance.poll(wanted))).to.deep.equal(['a']);
    });

    it('gives back at once what it had recorded already', async () => {
      await instance.poll();
      const ids = await publish('orders', 'a', 'b');
      const caller = new Caller();
      const release = instance.store.hold((call, way) => isCommit(call) && way === 'from');
      const waiting = instance.poll({}, caller);
      await settle();
      caller.hangUp();
      release();
      expect(payloadsOf(await waiting)).to.deep.equal([]);
      expect(instance.metrics.delivered.long_poll).to.equal(0);
      const next = await instance.poll();
      expect(payloadsOf(next)).to.deep.equal(['a', 'b']);
      expect(next.messages.map(({ attempt }) => attempt)).to.deep.equal([2, 2]);
      expect(await right(instance.acknowledge(ids))).to.deep.include({ count: 2, unknown: [] });
    });

    it('gives back what it had recorded even where somebody else wrote meanwhile', async () => {
      await instance.poll({ topics: ['orders', 'other'] });
      await publish('orders', 'a', 'b');
      const caller = new Caller();
      const release = instance.store.hold((call, way) => isCommit(call) && way === 'from');
      const waiting = instance.poll({}, caller);
      await settle();
      await publish('other', 'x');
      const other = anInstance(backend);
      expect(payloadsOf(await other.poll({ topics: ['orders', 'other'] }))).to.deep.equal(['x']);
      caller.hangUp();
      release();
      await waiting;
      expect(payloadsOf(await instance.poll())).to.deep.equal(['a', 'b']);
    });
  });

  describe('beside others of the same client_id', () => {
    it('never gets what another got, before its time is up', async () => {
      const instances = [instance, anInstance(backend), anInstance(backend)];
      await publish('orders', ...numbers(1, 12));
      const answers = await Promise.all(
        [0, 1, 2, 0, 1, 2].map((i) => instances[i]!.poll({ start: EARLIEST, max: 2 })),
      );
      const got = answers.flatMap(payloadsOf);
      expect(got).to.have.members(numbers(1, 12));
      expect(await instance.poll()).to.deep.include({ messages: [], gaps: [] });
    });

    it('gets a message exactly once among all that wait for it', async () => {
      const other = anInstance(backend);
      const waiting = [instance, other, instance].map((each) => watch(each.poll({ timeoutMs: 30_000 })));
      await settle();
      await publish('orders', 'a');
      expect(waiting.filter(({ isOver }) => isOver)).to.have.length(1);
      await publish('orders', 'b');
      await publish('orders', 'c');
      const answers = await Promise.all(waiting.map(({ promise }) => promise));
      expect(answers.flatMap(payloadsOf)).to.have.members(['a', 'b', 'c']);
    });

    it('waits on however often others were faster', async () => {
      const waiting = Array.from({ length: 25 }, () => instance.poll({ timeoutMs: 30_000 }));
      await settle();
      for (let i = 0; i < 25; i++) await publish('orders', String(i));
      expect((await Promise.all(waiting)).flatMap(payloadsOf)).to.have.members(numbers(0, 24));
    });

    it('gives up where somebody is faster again and again without an end', async () => {
      await publish('orders', ...numbers(1, 40));
      const other = anInstance(backend);
      let rounds = 0;
      instance.store.delay = async (call, way) => {
        if (!isCommit(call) || way === 'from') return;
        rounds += 1;
        await other.poll({ start: EARLIEST, max: 1 });
      };
      expect((await left(instance.polling({ start: EARLIEST })))._tag).to.equal('VersionConflict');
      expect(rounds).to.equal(8);
    });

    it('meets nobody of another principal', async () => {
      await publish('orders', 'a');
      const bob = aPrincipal({ id: 'jwt:bob' });
      expect(payloadsOf(await instance.poll({ start: EARLIEST }))).to.deep.equal(['a']);
      expect(payloadsOf(await instance.poll({ principal: bob, start: EARLIEST }))).to.deep.equal(['a']);
    });

    it('takes the subscription over from a connection, with what that had in flight', async () => {
      const { connection } = await instance.subscribe();
      await publish('orders', 'a');
      const answer = await instance.poll();
      expect(connection.closes).to.deep.equal(['superseded']);
      expect(answer.messages.map(({ attempt }) => attempt)).to.deep.equal([2]);
    });

    it('leaves the subscription to a connection that took it over while it waited', async () => {
      for (const later of [instance, anInstance(backend)]) {
        const wanted = { clientId: later === instance ? 'here' : 'there' };
        const waiting = watch(instance.poll({ ...wanted, timeoutMs: 30_000 }));
        await settle();
        const { session, connection } = await later.subscribe(wanted);
        const ids = await publish('orders', 'a');
        expect(payloadsOf(await waiting.promise)).to.deep.equal([]);
        expect(connection.payloads).to.deep.equal(['a']);
        session.acknowledge(ids);
        await backend.pass(200);
        expect(connection.closes).to.deep.equal([]);
      }
    });
  });

  describe('at most once', () => {
    const wanted = { guarantee: 'at_most_once', start: EARLIEST } as const;

    it('answers with each message once, needing no acknowledgement', async () => {
      await publish('orders', ...numbers(1, 4));
      const first = await instance.poll({ ...wanted, max: 2, maxInFlight: 1, ackTimeoutMs: 100 });
      await backend.pass(1_000);
      const second = await instance.poll({ ...wanted, max: 9 });
      expect([first, second].flatMap(payloadsOf)).to.deep.equal(numbers(1, 4));
    });

    for (const fault of ['not_stored', 'lost', 'unanswered'] satisfies readonly Fault[]) {
      it(`answers with nothing where recording is ${fault}, and never twice afterwards`, async () => {
        await instance.poll(wanted);
        await publish('orders', 'a');
        instance.store.failOnce(fault, isCommit);
        expect(await left(instance.polling(wanted))).to.include({ _tag: 'StoreUnavailable' });
        const next = await instance.poll(wanted);
        expect(payloadsOf(next)).to.deep.equal(fault === 'unanswered' ? [] : ['a']);
      });
    }
  });

  describe('on a store that fails', () => {
    for (const fault of ['not_stored', 'lost', 'unanswered'] satisfies readonly Fault[]) {
      it(`loses nothing where recording is ${fault}`, async () => {
        await instance.poll({ ackTimeoutMs: 1_000 });
        await publish('orders', 'a');
        instance.store.failOnce(fault, isCommit);
        expect(await left(instance.polling())).to.include({ _tag: 'StoreUnavailable' });
        await backend.pass(1_000);
        expect(payloadsOf(await instance.poll())).to.deep.equal(['a']);
      });
    }

    it('says so where its topics cannot be followed or read, and leaves them', async () => {
      await instance.poll();
      await backend.pass(31_000);
      instance.feed.isReachable = false;
      expect(await left(instance.polling({ timeoutMs: 30_000 }))).to.include({ _tag: 'StoreUnavailable' });
      instance.feed.isReachable = true;
      instance.store.canPeek = false;
      await publish('orders', 'a');
      instance.store.failOnce('not_stored', isTopicRead);
      expect(await left(instance.polling())).to.include({ _tag: 'StoreUnavailable' });
      expect(payloadsOf(await instance.poll())).to.deep.equal(['a']);
      expect(instance.metrics.open.long_poll).to.equal(0);
    });
  });

  describe('that may not', () => {
    it('is refused topics that are not granted', async () => {
      const principal = aPrincipal({ subscribe: ['a'] });
      expect(await left(instance.polling({ principal, topics: ['a', 'b'] }))).to.deep.equal({
        _tag: 'Forbidden',
        action: 'subscribe',
        topic: 'b',
      });
    });

    it('is refused another guarantee than the subscription has', async () => {
      await instance.poll({ guarantee: 'at_most_once' });
      expect(await left(instance.polling({ guarantee: 'at_least_once' }))).to.deep.equal({
        _tag: 'GuaranteeMismatch',
        guarantee: 'at_most_once',
      });
      await instance.poll();
    });

    it('is refused more topics than a subscription may have', async () => {
      const small = anInstance(backend, { topicsMax: 2 });
      await small.poll({ topics: ['a', 'b'] });
      expect(await left(small.polling({ topics: ['c'] }))).to.deep.equal({
        _tag: 'TooManyTopics',
        topicsMax: 2,
      });
    });
  });
});
