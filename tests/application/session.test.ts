import { expect } from 'chai';
import type { MessageId } from '../../domain/message/message-id.js';
import { offsetAt } from '../../domain/message/offset.js';
import type { ClientConnection } from '../../application/ports/client-connection.js';
import { topicStream } from '../../application/ports/event-store.js';
import { aMessage, aTopic } from '../support/builders.js';
import { anInstance, Backend, type Instance } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { RecordingConnection } from '../support/recording-connection.js';
import { settle } from '../support/settle.js';
import { right } from '../support/task-either.js';
import { isTopicRead } from '../support/unreliable-store.js';

const EARLIEST = { at: 'earliest' } as const;

/** `from` up to and with `to`, as payloads. */
const numbers = (from: number, to: number): readonly string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => String(from + i));

describe('A session', () => {
  let backend: Backend;
  let instance: Instance;
  const publish = (topic: string, ...payloads: readonly string[]) => backend.publish(topic, ...payloads);

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  describe('with a client that keeps up', () => {
    it('delivers what is published, in order, as first attempts', async () => {
      const { connection } = await instance.subscribe();
      await publish('orders', 'a', 'b');
      await publish('orders', 'c');
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c']);
      expect(connection.deliveries.map(({ attempt }) => attempt)).to.deep.equal([1, 1, 1]);
    });

    it('delivers nothing of before it was opened, unless asked to', async () => {
      await publish('orders', 'before');
      const late = await instance.subscribe();
      const early = await instance.subscribe({ clientId: 'tv', start: EARLIEST });
      await publish('orders', 'after');
      expect(late.connection.payloads).to.deep.equal(['after']);
      expect(early.connection.payloads).to.deep.equal(['before', 'after']);
    });

    it('delivers nothing before it is told to', async () => {
      await publish('orders', 'a');
      const connection = new RecordingConnection();
      const { session } = await right(
        instance.opening({ start: EARLIEST, topics: ['orders', 'n.>'] }, connection),
      );
      await publish('orders', 'b');
      await publish('n.created', 'c');
      await backend.pass(1_000);
      expect(connection.payloads).to.deep.equal([]);
      session.deliver();
      await settle();
      expect(connection.payloads).to.have.members(['a', 'b', 'c']);
    });

    it('shares one batch object among all who stand at the same place', async () => {
      const batches = new Set<unknown>();
      for (const clientId of ['a', 'b', 'c']) {
        const { connection } = await instance.subscribe({ clientId });
        const deliver = connection.deliver.bind(connection);
        connection.deliver = (batch, attempt) => (batches.add(batch), deliver(batch, attempt));
      }
      await publish('orders', '1', '2');
      expect(batches.size).to.equal(1);
    });

    it('says that a batch is alone where it has one topic, and not where more may come', async () => {
      const alone: (boolean | undefined)[] = [];
      for (const topics of [['orders'], ['orders', 'invoices']]) {
        const subscribed = await instance.subscribe({ clientId: `of-${topics.length}`, topics });
        const connection: ClientConnection = subscribed.connection;
        connection.deliver = (_batch, _attempt, isAlone) => (alone.push(isAlone), 'sent');
      }
      await publish('orders', 'a');
      expect(alone).to.deep.equal([true, false]);
    });

    it('counts each delivery once', async () => {
      await publish('orders', 'a');
      await instance.subscribe({ start: EARLIEST });
      await instance.subscribe({ clientId: 'tv' });
      await publish('orders', 'b', 'c');
      expect(instance.metrics.delivered.websocket).to.equal(5);
    });
  });

  describe('behind its topic', () => {
    it('delivers a long backlog page by page and then goes live', async () => {
      await publish('orders', ...numbers(1, 450));
      const { connection } = await instance.subscribe({ start: EARLIEST, maxInFlight: 100 });
      expect(connection.payloads).to.deep.equal(numbers(1, 100));
      const roomy = anInstance(backend, { settings: { maxInFlight: 1_000 } });
      const { connection: other } = await roomy.subscribe({ clientId: 'tv', start: EARLIEST });
      await publish('orders', '451');
      expect(other.payloads).to.deep.equal(numbers(1, 451));
    });

    it('shares its pages with all who catch up from the same place', async () => {
      await publish('orders', ...numbers(1, 150));
      const batches = new Set<unknown>();
      for (const clientId of ['a', 'b', 'c']) {
        const connection = new RecordingConnection();
        const deliver = connection.deliver.bind(connection);
        connection.deliver = (batch, attempt) => (batches.add(batch), deliver(batch, attempt));
        const wanted = { clientId, start: EARLIEST };
        const roomy = await right(instance.opening(wanted, connection));
        roomy.session.deliver();
        await settle();
        expect(connection.payloads).to.deep.equal(numbers(1, 100));
      }
      expect(batches.size).to.equal(1);
    });

    it('does not let the long backlog of one topic keep another waiting', async () => {
      const roomy = anInstance(backend, { settings: { maxInFlight: 10_000 } });
      await publish('busy', ...numbers(1, 900));
      await publish('quiet', 'q');
      const { connection } = await roomy.subscribe({ topics: ['busy', 'quiet'], start: EARLIEST });
      expect(connection.payloads.indexOf('q')).to.be.within(0, 200);
      expect(connection.deliveries).to.have.length(901);
    });

    it('gets to every topic, even where its client takes one message at a time', async () => {
      for (const topics of [
        ['busy', 'quiet'],
        ['quiet', 'busy'],
      ]) {
        await publish('busy', ...numbers(1, 20));
        const wanted = { clientId: topics[0], topics, start: EARLIEST, maxInFlight: 1 };
        const { session, connection } = await instance.subscribe(wanted);
        await publish('quiet', 'q');
        for (let i = 0; i < 5; i++) {
          const { topic, offset } = connection.deliveries[i]!;
          session.acknowledge([{ topic, offset }]);
          await settle();
        }
        expect(connection.payloads).to.include('q');
      }
    });

    it('neither loses nor repeats what is published while it reads', async () => {
      instance.store.canPeek = false;
      await publish('orders', ...numbers(1, 150));
      const release = instance.store.hold((call, way) => isTopicRead(call) && way === 'from');
      const { connection } = await instance.subscribe({ start: EARLIEST, maxInFlight: 1_000 });
      await publish('orders', '151');
      release();
      await publish('orders', '152');
      await publish('orders', '153');
      expect(connection.payloads).to.deep.equal([...new Set(connection.payloads)]);
      await backend.pass(1_000);
      expect(connection.payloads.slice(0, 100)).to.deep.equal(numbers(1, 100));
    });

    it('delivers what the feed has lost, at whichever place of a batch', async () => {
      for (const lost of [1, 2, 4]) {
        instance.feed.loses = (n) => n === lost;
        const { connection } = await instance.subscribe({ topics: [`t${lost}`], clientId: `c${lost}` });
        await publish(`t${lost}`, '1', '2', '3', '4');
        await publish(`t${lost}`, '5');
        expect(connection.payloads).to.deep.equal(numbers(1, 5));
        expect(connection.gaps).to.deep.equal([]);
      }
    });

    it('goes on by itself after the store could not be read', async () => {
      instance.store.canPeek = false;
      await publish('orders', 'a');
      instance.store.fault = (call) => (isTopicRead(call) ? 'not_stored' : undefined);
      const { connection } = await instance.subscribe({ start: EARLIEST });
      expect(connection.payloads).to.deep.equal([]);
      expect(instance.logger.events).to.include('catch_up_failed');
      instance.store.fault = () => undefined;
      await backend.pass(500);
      expect(connection.payloads).to.deep.equal(['a']);
    });

    it('goes on by itself after the feed could not be reached', async () => {
      instance.feed.isReachable = false;
      const { connection } = await instance.subscribe();
      await publish('orders', 'a');
      instance.feed.isReachable = true;
      await backend.pass(500);
      await publish('orders', 'b');
      expect(connection.payloads).to.deep.equal(['a', 'b']);
    });

    it('skips what has expired, and what is gone by the time it would be sent', async () => {
      const expiresAt = backend.clock.now() + 1_000;
      await backend.publish('orders', aMessage({ payload: 'short', expiresAt }), 'long');
      await backend.pass(1_000);
      const { connection } = await instance.subscribe({ start: EARLIEST });
      expect(connection.payloads).to.deep.equal(['long']);
      await backend.publish('orders', aMessage({ payload: 'over', expiresAt }), 'next');
      expect(connection.payloads).to.deep.equal(['long', 'next']);
    });

    it('passes by a backlog of nothing but expired messages', async () => {
      const expired = aMessage({ expiresAt: backend.clock.now() });
      await backend.publish('orders', ...Array.from({ length: 250 }, () => expired), 'long');
      const { connection } = await instance.subscribe({ start: EARLIEST, maxInFlight: 10 });
      expect(connection.payloads).to.deep.equal(['long']);
    });
  });

  describe('with a client that is slow', () => {
    it('writes nothing more to a full connection, and goes on where it was', async () => {
      const { session, connection } = await instance.subscribe();
      connection.answer = 'full';
      await publish('orders', 'a');
      await publish('orders', 'b');
      await publish('orders', 'c');
      expect(connection.payloads).to.deep.equal(['a']);
      connection.drain();
      session.onWritable();
      await settle();
      await publish('orders', 'd');
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c', 'd']);
      expect(connection.overruns).to.equal(0);
    });

    it('writes no page to a connection that became full while it was read', async () => {
      instance.store.canPeek = false;
      await publish('old', 'o');
      const { session, connection } = await instance.subscribe({ topics: ['new'] });
      const release = instance.store.hold((call, way) => isTopicRead(call) && way === 'from');
      await right(instance.sessions.extend(session, { topics: [aTopic('old') as never], start: EARLIEST }));
      session.deliver();
      await settle();
      connection.answer = 'full';
      await publish('new', 'n');
      release();
      await settle();
      expect(connection.payloads).to.deep.equal(['n']);
      connection.drain();
      session.onWritable();
      await settle();
      expect(connection.payloads).to.deep.equal(['n', 'o']);
      expect(connection.overruns).to.equal(0);
    });

    it('holds back what would exceed max_in_flight until something is acknowledged', async () => {
      const { session, connection } = await instance.subscribe({ maxInFlight: 3 });
      const ids = await publish('orders', ...numbers(1, 8));
      expect(connection.payloads).to.deep.equal(numbers(1, 3));
      session.acknowledge([ids[1]!]);
      await settle();
      expect(connection.payloads).to.deep.equal(numbers(1, 4));
      session.acknowledge(ids.slice(0, 4));
      await settle();
      expect(connection.payloads).to.deep.equal(numbers(1, 7));
    });

    it('counts max_in_flight over all of its topics', async () => {
      const { connection } = await instance.subscribe({ topics: ['a', 'b'], maxInFlight: 3 });
      await publish('a', '1', '2');
      await publish('b', '3', '4');
      expect(connection.deliveries).to.have.length(3);
    });

    it('keeps to max_in_flight where one topic goes on while another is read', async () => {
      instance.store.canPeek = false;
      await publish('old', '1', '2', '3');
      const { session, connection } = await instance.subscribe({ topics: ['new'], maxInFlight: 4 });
      const release = instance.store.hold((call, way) => isTopicRead(call) && way === 'from');
      await right(instance.sessions.extend(session, { topics: [aTopic('old') as never], start: EARLIEST }));
      session.deliver();
      await settle();
      await publish('new', '4', '5', '6');
      release();
      await settle();
      expect(connection.deliveries).to.have.length(4);
    });

    it('does not let one slow client hold up another', async () => {
      const slow = await instance.subscribe({ clientId: 'slow' });
      slow.connection.answer = 'full';
      const fast = await instance.subscribe({ clientId: 'fast' });
      await publish('orders', 'a');
      await publish('orders', 'b');
      expect(fast.connection.payloads).to.deep.equal(['a', 'b']);
    });
  });

  describe('when the ack timeout passes', () => {
    it('delivers again what was not acknowledged, as the next attempt', async () => {
      const { session, connection } = await instance.subscribe({ ackTimeoutMs: 1_000 });
      const [a] = await publish('orders', 'a', 'b');
      session.acknowledge([a!]);
      await backend.pass(900);
      expect(connection.payloads).to.deep.equal(['a', 'b']);
      await backend.pass(500);
      expect(connection.deliveries.slice(2)).to.deep.include.members([
        { ...connection.deliveries[1], attempt: 2 },
      ]);
      expect(connection.deliveries).to.have.length(3);
      await backend.pass(1_500);
      expect(connection.deliveries[3]).to.include({ payload: 'b', attempt: 3 });
    });

    it('delivers what is due again before what is new', async () => {
      const { session, connection } = await instance.subscribe({ ackTimeoutMs: 1_000, maxInFlight: 3 });
      const ids = await publish('orders', ...numbers(1, 5));
      session.acknowledge([ids[0]!]);
      await settle();
      connection.answer = 'full';
      await publish('orders', '6');
      await backend.pass(1_500);
      session.acknowledge([]);
      connection.drain();
      session.onWritable();
      await settle();
      const again = connection.deliveries
        .filter(({ attempt }) => attempt === 2)
        .map(({ payload }) => payload);
      expect(again).to.deep.equal(['2', '3', '4']);
    });

    it('keeps to max_in_flight: what is due again is counted already', async () => {
      const { connection } = await instance.subscribe({ ackTimeoutMs: 1_000, maxInFlight: 2 });
      await publish('orders', ...numbers(1, 4));
      await backend.pass(1_300);
      expect(connection.payloads).to.deep.equal(['1', '2', '1', '2']);
    });

    it('takes a late acknowledgement', async () => {
      const { session, connection } = await instance.subscribe({ ackTimeoutMs: 1_000 });
      const ids = await publish('orders', 'a');
      await backend.pass(1_300);
      expect(session.acknowledge(ids)).to.deep.equal([]);
      expect(instance.metrics.acknowledged).to.equal(1);
      await backend.pass(3_000);
      expect(connection.payloads).to.deep.equal(['a', 'a']);
    });

    it('does not send what is acknowledged while it is read to be sent again', async () => {
      const { session, connection } = await instance.subscribe({ ackTimeoutMs: 1_000 });
      const ids = await publish('orders', 'a', 'b');
      instance.store.canPeek = false;
      const release = instance.store.hold((call, way) => isTopicRead(call) && way === 'from');
      await backend.pass(1_300);
      session.acknowledge([ids[0]!]);
      release();
      await backend.pass(300);
      expect(connection.deliveries.slice(2).map(({ payload }) => payload)).to.deep.equal(['b']);
      session.acknowledge([ids[1]!]);
      await backend.pass(5_000);
      expect(connection.deliveries).to.have.length(3);
    });

    it('gives every client what is due to it, and not what is due to another', async () => {
      const wanted = { ackTimeoutMs: 1_000 };
      const one = await instance.subscribe({ ...wanted, clientId: 'one' });
      const other = await instance.subscribe({ ...wanted, clientId: 'other' });
      const ids = await publish('orders', ...numbers(1, 4));
      one.session.acknowledge([ids[1]!]);
      other.session.acknowledge([ids[2]!]);
      await backend.pass(1_300);
      expect(one.connection.payloads.slice(4)).to.deep.equal(['1', '3', '4']);
      expect(other.connection.payloads.slice(4)).to.deep.equal(['1', '2', '4']);
    });

    it('waits for nothing that has expired or was trimmed meanwhile', async () => {
      const { connection } = await instance.subscribe({ ackTimeoutMs: 1_000, maxInFlight: 2 });
      const expiring = aMessage({ payload: 'a', expiresAt: backend.clock.now() + 500 });
      const [, b] = await backend.publish('orders', expiring, 'b', 'c', 'd');
      await right(backend.store.trim(topicStream(aTopic('orders')), (b!.offset + 1) as never));
      await backend.pass(1_300);
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c', 'd']);
    });

    it('delivers a long run that is due again completely', async () => {
      const { connection } = await anInstance(backend, { settings: { maxInFlight: 500 } }).subscribe({
        ackTimeoutMs: 1_000,
      });
      await publish('orders', ...numbers(1, 350));
      await backend.pass(1_300);
      expect(connection.payloads.slice(350)).to.deep.equal(numbers(1, 350));
    });
  });

  describe('when messages are missing', () => {
    it('tells the gap once and goes on behind it', async () => {
      const ids = await publish('orders', ...numbers(1, 5));
      await instance.sessions.end((await instance.subscribe({ start: EARLIEST, maxInFlight: 1 })).session);
      await right(backend.store.trim(topicStream(aTopic('orders')), ids[3]!.offset));
      const { session, connection } = await instance.subscribe({ maxInFlight: 10 });
      // What was due again is told apart from what was never delivered.
      expect(connection.gaps.map(({ from, to }) => [from.n, to.n])).to.deep.equal([
        [0, 1],
        [1, 3],
      ]);
      expect(connection.gaps[0]).to.deep.include({ topic: 'orders', reason: 'retention' });
      expect(session.acknowledge(ids.slice(3))).to.deep.equal([]);
      await backend.pass(1_000);
      expect(connection.gaps).to.have.length(2);
    });

    it('tells a gap up to the head where nothing is left', async () => {
      const gone = await instance.subscribe();
      await instance.sessions.end(gone.session);
      const ids = await publish('orders', ...numbers(1, 3));
      await right(backend.store.trim(topicStream(aTopic('orders')), (ids[2]!.offset + 1) as never));
      const { connection } = await instance.subscribe();
      expect(connection.gaps.map(({ from, to }) => [from.n, to.n])).to.deep.equal([[0, 3]]);
      await publish('orders', 'next');
      await backend.pass(1_000);
      expect(connection.gaps).to.have.length(1);
      expect(connection.payloads).to.deep.equal(['next']);
    });

    it('does not tell a gap again to a client that comes back', async () => {
      const gone = await instance.subscribe();
      await instance.sessions.end(gone.session);
      const ids = await publish('orders', ...numbers(1, 3));
      await right(backend.store.trim(topicStream(aTopic('orders')), ids[2]!.offset));
      const first = await instance.subscribe();
      await instance.sessions.end(first.session);
      const second = await instance.subscribe();
      expect(first.connection.gaps).to.have.length(1);
      expect(second.connection.gaps).to.deep.equal([]);
      expect(second.connection.deliveries).to.deep.include({ ...first.connection.deliveries[0], attempt: 2 });
    });
  });

  describe('with patterns', () => {
    it('follows a topic from its first message on when it comes into being', async () => {
      const { connection } = await instance.subscribe({ topics: ['orders.*.created'] });
      await publish('orders.eu.created', 'a', 'b');
      await publish('orders.eu.deleted', 'x');
      expect(connection.payloads).to.deep.equal(['a', 'b']);
    });

    it('misses no topic that comes into being while it is opened', async () => {
      const connection = new RecordingConnection();
      await right(instance.catalogue.matching([aTopic('any') as never]));
      const release = instance.store.hold(({ operation }) => operation === 'append');
      const opening = instance.opening({ topics: ['orders.>'] }, connection)();
      await settle();
      await publish('orders.eu', 'a');
      release();
      const opened = await opening;
      if (opened._tag === 'Right') opened.right.session.deliver();
      await settle();
      expect(connection.payloads).to.deep.equal(['a']);
    });

    it('misses no topic that comes into being while a pattern is added', async () => {
      const { session, connection } = await instance.subscribe();
      await right(instance.catalogue.matching([aTopic('any') as never]));
      const release = instance.store.hold(({ operation }) => operation === 'append');
      const extending = instance.sessions.extend(session, {
        topics: ['n.>' as never],
        start: { at: 'latest' },
      })();
      await settle();
      await publish('n.eu', 'a');
      release();
      await extending;
      session.deliver();
      await settle();
      expect(connection.payloads).to.deep.equal(['a']);
    });

    it('goes on in a topic that was found by pattern', async () => {
      const first = await instance.subscribe({ topics: ['orders.>'] });
      const ids = await publish('orders.eu', 'a', 'b');
      first.session.acknowledge([ids[0]!]);
      await instance.sessions.end(first.session);
      await publish('orders.us', 'c');
      const { connection } = await instance.subscribe({ topics: ['orders.>'] });
      expect(connection.deliveries.map(({ payload, attempt }) => `${payload}${attempt}`)).to.have.members([
        'b2',
        'c1',
      ]);
    });

    it('keeps to the grants, for every topic that a pattern comes to match', async () => {
      const principal = aPrincipal({ subscribe: ['orders.eu'] });
      await publish('orders.us', 'old');
      const { connection } = await instance.subscribe({ principal, topics: ['orders.>'], start: EARLIEST });
      await publish('orders.eu', 'a');
      await publish('orders.us', 'b');
      await publish('orders.cn', 'c');
      expect(connection.payloads).to.deep.equal(['a']);
    });
  });

  describe('whose topics change', () => {
    it('delivers added topics and stops delivering removed ones', async () => {
      const { session, connection } = await instance.subscribe({ topics: ['a'] });
      await right(
        instance.sessions.extend(session, { topics: [aTopic('b') as never], start: { at: 'latest' } }),
      );
      session.deliver();
      await right(instance.sessions.remove(session, [aTopic('a') as never]));
      session.deliver();
      await settle();
      await publish('a', '1');
      await publish('b', '2');
      expect(connection.payloads).to.deep.equal(['2']);
    });

    it('gives back the room of what it had in flight in a removed topic', async () => {
      const { session, connection } = await instance.subscribe({ topics: ['a', 'b'], maxInFlight: 2 });
      await publish('a', '1', '2');
      await publish('b', '3', '4');
      await right(instance.sessions.remove(session, [aTopic('a') as never]));
      session.deliver();
      await settle();
      expect(connection.payloads).to.deep.equal(['1', '2', '3', '4']);
    });

    it('forgets a removed topic even where a commit was waiting for the removal', async () => {
      const { session } = await instance.subscribe({ topics: ['a', 'b'] });
      const ids = await publish('a', '1', '2');
      const removing = instance.sessions.remove(session, [aTopic('a') as never])();
      session.acknowledge([ids[0]!]);
      const commit = session.commit();
      await removing;
      await commit;
      session.deliver();
      await backend.pass(500);
      expect([...(await instance.recorded()).positions.keys()]).to.deep.equal(['b']);
    });

    it('does not send what it was reading when its topic was removed', async () => {
      instance.store.canPeek = false;
      await publish('a', '1');
      const release = instance.store.hold((call, way) => isTopicRead(call) && way === 'from');
      const { session, connection } = await instance.subscribe({ topics: ['a'], start: EARLIEST });
      await right(instance.sessions.remove(session, [aTopic('a') as never]));
      session.deliver();
      release();
      await settle();
      expect(connection.payloads).to.deep.equal([]);
    });

    it('delivers no topic any more that its principal may not receive', async () => {
      const first = await instance.subscribe({ topics: ['a', 'b'] });
      await instance.sessions.end(first.session);
      const narrower = aPrincipal({ subscribe: ['b'] });
      const { session, connection } = await instance.subscribe({ principal: narrower, topics: ['b'] });
      await publish('a', '1');
      await publish('b', '2');
      expect(connection.payloads).to.deep.equal(['2']);
      session.principal = aPrincipal({ subscribe: ['c'] });
      await publish('b', '3');
      expect(connection.payloads).to.deep.equal(['2']);
    });
  });

  describe('that acknowledges', () => {
    const anId = (topic: string, offset: number): MessageId => ({
      topic: aTopic(topic),
      offset: offset as never,
    });

    it('names those that were never delivered', async () => {
      const { session } = await instance.subscribe();
      const [a, b] = await publish('orders', 'a', 'b');
      const foreign = anId('other', 5);
      const ahead = anId('orders', offsetAt(backend.clock.now() + 1_000));
      expect(session.acknowledge([a!, foreign, b!, ahead])).to.have.deep.members([foreign, ahead]);
      expect(session.inFlight.messages).to.equal(0);
    });

    it('acknowledges what was acknowledged before again, and twice the same once', async () => {
      const { session } = await instance.subscribe();
      const [a] = await publish('orders', 'a');
      expect(session.acknowledge([a!, a!])).to.deep.equal([]);
      expect(session.acknowledge([a!])).to.deep.equal([]);
      expect(instance.metrics.acknowledged).to.equal(1);
    });

    it('tells how far it is behind', async () => {
      const { session } = await instance.subscribe();
      const ids = await publish('orders', 'a', 'b', 'c');
      expect(instance.metrics.queueDepths).to.deep.equal({ orders: 3 });
      session.acknowledge(ids.slice(1));
      expect(instance.metrics.queueDepths).to.deep.equal({ orders: 3 });
      session.acknowledge(ids.slice(0, 1));
      expect(instance.metrics.queueDepths).to.deep.equal({ orders: 0 });
    });
  });
});
