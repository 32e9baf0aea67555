import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { parseMessageId } from '../../domain/message/message-id.js';
import { aPattern } from '../support/builders.js';
import { anInstance, Backend, identityOf, type Instance } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { RecordingConnection } from '../support/recording-connection.js';
import { settle } from '../support/settle.js';
import { left, right } from '../support/task-either.js';
import { isCommit } from '../support/unreliable-store.js';

const LATEST = { at: 'latest' } as const;

describe('Sessions', () => {
  let backend: Backend;
  let instance: Instance;

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  describe('of the same client_id', () => {
    it('supersede each other: the newer one wins', async () => {
      const first = await instance.subscribe();
      const second = await instance.subscribe();
      await backend.publish('orders', 'a');
      expect(first.connection.closes).to.deep.equal(['superseded']);
      expect(first.connection.payloads).to.deep.equal([]);
      expect(second.connection.payloads).to.deep.equal(['a']);
      expect(instance.sessions.find(identityOf({}))).to.equal(second.session);
    });

    it('lose no acknowledgement to each other', async () => {
      const first = await instance.subscribe();
      const ids = await backend.publish('orders', 'a', 'b');
      first.session.acknowledge([ids[0]!]);
      const second = await instance.subscribe();
      expect(second.connection.payloads).to.deep.equal(['b']);
    });

    it('keep the one that is there where the other one is refused', async () => {
      const { connection } = await instance.subscribe();
      const other = { guarantee: 'at_most_once' } as const;
      const refused = await left(instance.opening(other, new RecordingConnection()));
      expect(refused).to.include({ _tag: 'GuaranteeMismatch' });
      const poll = { ...other, clientId: 'phone' };
      expect(await left(instance.polling(poll))).to.include({ _tag: 'GuaranteeMismatch' });
      await backend.publish('orders', 'a');
      expect(connection.closes).to.deep.equal([]);
      expect(connection.payloads).to.deep.equal(['a']);
    });

    it('leave exactly one where many are opened at once, and that one works', async () => {
      const connections = Array.from({ length: 6 }, () => new RecordingConnection());
      const opened = await Promise.all(
        connections.map(async (connection) => {
          const { session } = await right(instance.opening({}, connection));
          session.deliver();
          return session;
        }),
      );
      await settle();
      const [id] = await backend.publish('orders', 'a');
      const alive = opened.filter((_, i) => connections[i]!.closes.length === 0);
      expect(alive).to.have.length(1);
      for (const [i, session] of opened.entries()) {
        const isAlive = session === alive[0];
        expect(connections[i]!.closes).to.deep.equal(isAlive ? [] : ['superseded']);
        expect(connections[i]!.payloads).to.deep.equal(isAlive ? ['a'] : []);
      }
      expect(instance.sessions.find(identityOf({}))).to.equal(alive[0]);
      alive[0]!.acknowledge([id!]);
      await backend.pass(200);
      expect(alive[0]!.hasEnded).to.be.false;
    });

    it('leave the newer one where the older one hears late that it was opened', async () => {
      const older = new RecordingConnection();
      const release = instance.store.hold((call, way) => isCommit(call) && way === 'from');
      const opening = instance.opening({}, older)();
      await settle();
      instance.store.delay = undefined;
      const newer = await instance.subscribe();
      release();
      await opening;
      const ids = await backend.publish('orders', 'a');
      newer.session.acknowledge(ids);
      await backend.pass(200);
      expect(older.closes).to.deep.equal(['superseded']);
      expect(newer.connection.closes).to.deep.equal([]);
      expect(instance.sessions.find(identityOf({}))).to.equal(newer.session);
    });

    it('leave exactly one where two instances open at once', async () => {
      const other = anInstance(backend);
      const subscribers = await Promise.all([instance.subscribe(), other.subscribe()]);
      const [id] = await backend.publish('orders', 'a');
      for (const { session } of subscribers) session.acknowledge([id!]);
      await backend.pass(200);
      const alive = subscribers.filter(({ connection }) => connection.closes.length === 0);
      expect(alive).to.have.length(1);
    });

    it('do not meet where their principals differ, or where they have none', async () => {
      const bob = aPrincipal({ id: 'jwt:bob' });
      const all = [
        await instance.subscribe(),
        await instance.subscribe({ principal: bob }),
        await instance.subscribe({ clientId: undefined }),
        await instance.subscribe({ clientId: undefined }),
      ];
      await backend.publish('orders', 'a');
      for (const { connection } of all) {
        expect(connection.closes).to.deep.equal([]);
        expect(connection.payloads).to.deep.equal(['a']);
      }
    });
  });

  describe('that are opened', () => {
    it('say which of their topics they go on with', async () => {
      const { session } = await instance.subscribe({ topics: ['a', 'x.>'] });
      await instance.sessions.end(session);
      const opened = await right(instance.opening({ topics: ['b', 'a', 'x.>'] }, new RecordingConnection()));
      expect(opened.recovered).to.deep.equal(['a', 'x.>']);
      const more = { topics: [aPattern('c'), aPattern('b')], start: LATEST };
      expect((await right(instance.sessions.extend(opened.session, more))).recovered).to.deep.equal(['b']);
    });

    it('keep the topics of before beside those that are asked for', async () => {
      await instance.sessions.end((await instance.subscribe({ topics: ['a'] })).session);
      const { connection } = await instance.subscribe({ topics: ['b'] });
      await backend.publish('a', '1');
      await backend.publish('b', '2');
      expect(connection.payloads).to.deep.equal(['1', '2']);
    });

    it('keep the settings of before where none are asked for', async () => {
      await instance.sessions.end(
        (await instance.subscribe({ maxInFlight: 7, ackTimeoutMs: 1_234 })).session,
      );
      await instance.subscribe();
      expect((await instance.recorded()).settings).to.include({ maxInFlight: 7, ackTimeoutMs: 1_234 });
      await instance.subscribe({ maxInFlight: 8 });
      expect((await instance.recorded()).settings).to.include({ maxInFlight: 8, ackTimeoutMs: 1_234 });
    });

    it('are refused topics that are not granted, before anything is recorded', async () => {
      const principal = aPrincipal({ subscribe: ['b'] });
      expect(await left(instance.opening({ principal }, new RecordingConnection()))).to.deep.equal({
        _tag: 'Forbidden',
        action: 'subscribe',
        topic: 'orders',
      });
      expect((await instance.folded()).at.n).to.equal(0);
    });

    it('are refused another guarantee, also where they have topics already', async () => {
      const { session } = await instance.subscribe({ guarantee: 'at_most_once' });
      const request = { topics: [aPattern('b')], start: LATEST, guarantee: 'at_least_once' } as const;
      const refused = { _tag: 'GuaranteeMismatch', guarantee: 'at_most_once' };
      expect(await left(instance.sessions.extend(session, request))).to.deep.equal(refused);
      const opening = instance.opening({ guarantee: 'at_least_once' }, new RecordingConnection());
      expect(await left(opening)).to.deep.equal(refused);
    });

    it('are refused more topics than a subscription may have', async () => {
      const small = anInstance(backend, { topicsMax: 2 });
      const { session } = await small.subscribe({ topics: ['a', 'b'] });
      const refused = { _tag: 'TooManyTopics', topicsMax: 2 };
      const more = { topics: [aPattern('c')], start: LATEST };
      expect(await left(small.sessions.extend(session, more))).to.deep.equal(refused);
      expect((await small.recorded()).topics).to.deep.equal(['a', 'b']);
    });

    it('say so where the store cannot be reached', async () => {
      instance.store.fault = () => 'not_stored';
      expect(await left(instance.opening({}, new RecordingConnection()))).to.include({
        _tag: 'StoreUnavailable',
      });
    });

    it('are opened after all where the store had recorded it and not said so', async () => {
      instance.store.failOnce('unanswered', isCommit);
      await left(instance.opening({}, new RecordingConnection()));
      await backend.publish('orders', 'a');
      expect((await instance.subscribe()).connection.payloads).to.deep.equal(['a']);
    });
  });

  describe('without a client_id', () => {
    it('are gone with their connection', async () => {
      const first = await instance.subscribe({ clientId: undefined });
      await instance.sessions.end(first.session);
      await backend.publish('orders', 'a');
      const { connection } = await instance.subscribe({ clientId: undefined });
      expect(first.connection.payloads).to.deep.equal([]);
      expect(connection.payloads).to.deep.equal([]);
    });

    it('deliver again after the ack timeout as others do', async () => {
      const { connection } = await instance.subscribe({ clientId: undefined, ackTimeoutMs: 1_000 });
      await backend.publish('orders', 'a');
      await backend.pass(1_300);
      expect(connection.deliveries.map(({ attempt }) => attempt)).to.deep.equal([1, 2]);
    });
  });

  describe('that end', () => {
    it('cannot be found any more, and are asked for nothing', async () => {
      const { session, connection } = await instance.subscribe();
      await instance.sessions.end(session);
      expect(instance.sessions.find(identityOf({}))).to.be.undefined;
      await backend.publish('orders', 'a');
      await backend.pass(60_000);
      session.onWritable();
      session.deliver();
      session.onTopicCreated('orders' as never);
      await settle();
      expect(connection.payloads).to.deep.equal([]);
      expect(connection.closes).to.deep.equal([]);
      expect(instance.feed.followed).to.equal(0);
    });

    it('do not take a newer one of the same client_id with them', async () => {
      const first = await instance.subscribe();
      const second = await instance.subscribe();
      await instance.sessions.end(first.session);
      expect(instance.sessions.find(identityOf({}))).to.equal(second.session);
    });

    it('are all told why when the service stops, and what they acknowledged is recorded', async () => {
      const subscribers = await Promise.all(
        ['a', 'b', 'c'].map((clientId) => instance.subscribe({ clientId })),
      );
      const ids = await backend.publish('orders', '1', '2');
      for (const { session } of subscribers) session.acknowledge([ids[0]!]);
      await instance.sessions.stop('going_away');
      const next = anInstance(backend);
      for (const { connection } of subscribers) expect(connection.closes).to.deep.equal(['going_away']);
      for (const clientId of ['a', 'b', 'c']) {
        expect((await next.subscribe({ clientId })).connection.payloads).to.deep.equal(['2']);
      }
    });

    it('leave no timer behind when the service stops', async () => {
      const before = backend.clock.waiting;
      const other = anInstance(backend);
      const { session } = await other.subscribe();
      await other.sessions.end(session);
      await other.sessions.stop('going_away');
      await backend.pass(31_000);
      expect(backend.clock.waiting).to.equal(before);
    });

    it('stop in time though the store does not answer as it should', async () => {
      const { session } = await instance.subscribe();
      session.acknowledge(await backend.publish('orders', '1'));
      instance.store.fault = () => 'lost';
      await instance.sessions.stop('going_away');
    });
  });

  it('confirm an acknowledgement of a delivered message by the id that the client was given', async () => {
    const { session, connection } = await instance.subscribe();
    await backend.publish('orders', 'a');
    const { topic, offset } = connection.deliveries[0]!;
    const parsed = parseMessageId(`${topic}:${Math.floor(offset / 1024)}-${offset % 1024}`);
    if (E.isLeft(parsed)) throw new Error('not an id');
    expect(session.acknowledge([parsed.right])).to.deep.equal([]);
    expect(instance.metrics.acknowledged).to.equal(1);
  });
});
