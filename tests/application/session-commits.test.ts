import { expect } from 'chai';
import { subscriptionStream } from '../../application/ports/event-store.js';
import { anInstance, Backend, identityOf, type Instance, type Wanted } from '../support/instance.js';
import { settle } from '../support/settle.js';
import { left, right } from '../support/task-either.js';
import { isCommit, type Fault } from '../support/unreliable-store.js';

const COMMIT_MS = 100;

describe('A session that commits', () => {
  let backend: Backend;
  let instance: Instance;
  const publish = (...payloads: readonly string[]) => backend.publish('orders', ...payloads);

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  const journalLength = async (): Promise<number> =>
    (await right(backend.store.read(subscriptionStream(identityOf({})), 0 as never, 10_000))).length;

  const forget = (wanted: Wanted = {}) => {
    // What happens to a subscription that was silent for too long, or to all of them with FLUSHALL.
    const entries = Reflect.get(backend.store, 'entries') as Map<string, unknown>;
    const { principal, clientId } = identityOf(wanted);
    entries.delete(`subscription:${principal}/${clientId}`);
  };

  describe('on a store that answers', () => {
    it('records acknowledgements together, once per interval', async () => {
      const { session } = await instance.subscribe();
      const ids = await publish('a', 'b', 'c');
      const before = await journalLength();
      for (const id of ids) session.acknowledge([id]);
      expect(session.needsCommit).to.be.true;
      await backend.pass(COMMIT_MS);
      expect(session.needsCommit).to.be.false;
      expect(await journalLength()).to.equal(before + 1);
    });

    it('records what was delivered within a second, once, and nothing where nothing was', async () => {
      await instance.subscribe();
      const before = await journalLength();
      await backend.pass(5_000);
      expect(await journalLength()).to.equal(before);
      await publish('a');
      await backend.pass(1_200);
      expect(await journalLength()).to.equal(before + 1);
      await backend.pass(5_000);
      expect(await journalLength()).to.equal(before + 1);
    });

    it('goes on behind what was acknowledged when its client comes back', async () => {
      const first = await instance.subscribe();
      const ids = await publish('a', 'b', 'c');
      first.session.acknowledge([ids[0]!, ids[2]!]);
      await instance.sessions.end(first.session);
      await publish('d');
      const { connection } = await instance.subscribe();
      expect(connection.deliveries.map(({ payload, attempt }) => `${payload}${attempt}`)).to.deep.equal([
        'b2',
        'd1',
      ]);
    });

    it('delivers again at once what was in flight when the connection ended', async () => {
      const first = await instance.subscribe({ ackTimeoutMs: 60_000 });
      await publish('a');
      await instance.sessions.end(first.session);
      const { connection } = await instance.subscribe();
      expect(connection.deliveries.map(({ payload, attempt }) => `${payload}${attempt}`)).to.deep.equal([
        'a2',
      ]);
    });

    it('goes on elsewhere', async () => {
      const first = await instance.subscribe();
      const ids = await publish('a', 'b');
      first.session.acknowledge([ids[0]!]);
      await instance.sessions.end(first.session);
      const { connection } = await anInstance(backend).subscribe();
      expect(connection.payloads).to.deep.equal(['b']);
    });

    it('records nothing for a client without a client_id', async () => {
      const { session, connection } = await instance.subscribe({ clientId: undefined });
      const ids = await publish('a');
      session.acknowledge(ids);
      expect(session.needsCommit).to.be.false;
      await instance.sessions.end(session);
      await backend.pass(1_000);
      expect(connection.payloads).to.deep.equal(['a']);
      expect([...(Reflect.get(backend.store, 'entries') as Map<string, unknown>).keys()]).to.deep.equal([
        'topic:orders',
      ]);
    });

    it('stays cheap to load however much is acknowledged', async () => {
      const { session } = await instance.subscribe();
      for (let i = 0; i < 250; i++) {
        session.acknowledge(await publish(String(i)));
        await session.commit();
      }
      expect(await journalLength()).to.be.at.most(101);
      await instance.sessions.end(session);
      await publish('next');
      expect((await instance.subscribe()).connection.payloads).to.deep.equal(['next']);
    });
  });

  describe('on a store that fails', () => {
    for (const fault of ['not_stored', 'lost', 'unanswered'] satisfies readonly Fault[]) {
      it(`tries again when a commit is ${fault}`, async () => {
        const { session, connection } = await instance.subscribe();
        const ids = await publish('a', 'b');
        session.acknowledge([ids[0]!]);
        instance.store.failOnce(fault, isCommit);
        await session.commit();
        expect(session.needsCommit).to.be.true;
        await backend.pass(COMMIT_MS);
        expect(session.needsCommit).to.be.false;
        session.acknowledge([ids[1]!]);
        await backend.pass(COMMIT_MS);
        expect(connection.closes).to.deep.equal([]);
        await instance.sessions.end(session);
        expect((await instance.subscribe()).connection.payloads).to.deep.equal([]);
      });

      it(`loses nothing when its last commit is ${fault}`, async () => {
        const { session } = await instance.subscribe();
        const ids = await publish('a', 'b');
        session.acknowledge([ids[0]!]);
        instance.store.failOnce(fault, isCommit);
        await instance.sessions.end(session);
        const { connection } = await instance.subscribe();
        expect(connection.payloads).to.include('b');
      });

      it(`adds a topic after all when that was ${fault} at first`, async () => {
        const { session, connection } = await instance.subscribe();
        const more = { topics: ['more' as never], start: { at: 'latest' } as const };
        instance.store.failOnce(fault, isCommit);
        expect(await left(instance.sessions.extend(session, more))).to.include({ _tag: 'StoreUnavailable' });
        await right(instance.sessions.extend(session, more));
        session.deliver();
        await settle();
        await backend.publish('more', 'm');
        expect(connection.payloads).to.deep.equal(['m']);
        expect((await instance.recorded()).topics).to.deep.equal(['orders', 'more']);
      });
    }

    it('goes on delivering while nothing can be recorded', async () => {
      const { session, connection } = await instance.subscribe({ maxInFlight: 1 });
      instance.store.fault = (call) => (isCommit(call) ? 'lost' : undefined);
      for (const id of await publish('a', 'b', 'c')) {
        session.acknowledge([id]);
        await backend.pass(COMMIT_MS);
      }
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c']);
      instance.store.fault = () => undefined;
      await backend.pass(COMMIT_MS);
      expect((await instance.recorded()).positions.get('orders' as never)).to.deep.include({ due: [] });
    });

    it('sends no more than one commit at a time, and none twice, however slow the store is', async () => {
      const { session } = await instance.subscribe();
      const ids = await publish('a', 'b');
      let appends = 0;
      const release = instance.store.hold((call, way) => {
        if (isCommit(call) && way === 'to') appends += 1;
        return isCommit(call) && way === 'from';
      });
      session.acknowledge([ids[0]!]);
      await backend.pass(COMMIT_MS);
      session.acknowledge([ids[1]!]);
      await backend.pass(10 * COMMIT_MS);
      expect(appends).to.equal(1);
      release();
      await backend.pass(COMMIT_MS);
      expect(session.needsCommit).to.be.false;
      await instance.sessions.end(session);
      expect((await instance.subscribe()).connection.payloads).to.deep.equal([]);
    });
  });

  describe('when somebody else has written to its journal', () => {
    it('takes over acknowledgements that reached another instance', async () => {
      const { session, connection } = await instance.subscribe({ ackTimeoutMs: 1_000, maxInFlight: 3 });
      const ids = await publish('a', 'b', 'c', 'd');
      session.acknowledge([ids[0]!]);
      await session.commit();
      const answer = await right(anInstance(backend).acknowledge([ids[1]!]));
      expect(answer).to.deep.include({ count: 1, unknown: [] });
      session.acknowledge([ids[2]!]);
      await session.commit();
      await backend.pass(1_300);
      const again = connection.deliveries.filter(({ attempt }) => attempt > 1).map(({ payload }) => payload);
      expect(again).to.deep.equal(['d']);
      expect(connection.closes).to.deep.equal([]);
    });

    it('takes over acknowledgements that a snapshot has swallowed', async () => {
      const roomy = anInstance(backend, { settings: { maxInFlight: 500 } });
      const { session, connection } = await roomy.subscribe({ ackTimeoutMs: 60_000 });
      const ids = await publish(...Array.from({ length: 130 }, (_, i) => String(i)));
      session.acknowledge([ids[0]!]);
      await session.commit();
      const other = anInstance(backend);
      for (const id of ids.slice(1, 121)) await right(other.acknowledge([id]));
      session.acknowledge([ids[129]!]);
      await session.commit();
      expect(connection.closes).to.deep.equal([]);
      await roomy.sessions.end(session);
      const again = await roomy.subscribe();
      expect(again.connection.payloads).to.deep.equal([
        '121',
        '122',
        '123',
        '124',
        '125',
        '126',
        '127',
        '128',
      ]);
    });

    it('sends nothing again while it cannot find out what another instance was asked to acknowledge', async () => {
      const { session, connection } = await instance.subscribe({ ackTimeoutMs: 1_000 });
      const [first, second] = await publish('a', 'b');
      session.acknowledge([second!]);
      await backend.pass(COMMIT_MS);
      instance.store.fault = (call) => (isCommit(call) ? 'not_stored' : undefined);
      expect(await right(anInstance(backend).acknowledge([first!]))).to.deep.include({ count: 1 });
      await backend.pass(3_000);
      expect(connection.payloads).to.deep.equal(['a', 'b']);
      instance.store.fault = () => undefined;
      await backend.pass(3_000);
      expect(connection.payloads).to.deep.equal(['a', 'b']);
    });

    it('finds out before it sends again what another instance was asked to acknowledge', async () => {
      const first = await instance.subscribe({ ackTimeoutMs: 1_000 });
      const ids = await publish('a', 'b');
      await instance.sessions.end(first.session);
      const { connection } = await instance.subscribe();
      await right(anInstance(backend).acknowledge([ids[0]!]));
      await backend.pass(1_500);
      expect(connection.payloads).to.deep.equal(['a', 'b', 'b']);
    });

    it('finds out before it sends again that it was superseded', async () => {
      const { connection } = await instance.subscribe({ ackTimeoutMs: 1_000 });
      await publish('a');
      await anInstance(backend).subscribe();
      await backend.pass(1_500);
      expect(connection.payloads).to.deep.equal(['a']);
      expect(connection.closes).to.deep.equal(['superseded']);
    });

    it('is superseded also where a snapshot has swallowed who did it', async () => {
      const { session, connection } = await instance.subscribe();
      const ids = await publish('a');
      const other = await anInstance(backend).subscribe({ start: { at: 'earliest' } });
      for (let i = 0; i < 120; i++) {
        other.session.acknowledge(await publish(String(i)));
        await other.session.commit();
      }
      session.acknowledge(ids);
      await backend.pass(COMMIT_MS);
      expect(connection.closes).to.deep.equal(['superseded']);
      expect(other.connection.closes).to.deep.equal([]);
    });

    it('is superseded by a session elsewhere, and records nothing any more', async () => {
      const { session, connection } = await instance.subscribe();
      const ids = await publish('a');
      const other = await anInstance(backend).subscribe();
      const version = (await instance.folded()).at.n;
      session.acknowledge(ids);
      await backend.pass(COMMIT_MS);
      expect(connection.closes).to.deep.equal(['superseded']);
      expect((await instance.folded()).at.n).to.equal(version);
      await publish('b');
      expect(connection.payloads).to.deep.equal(['a']);
      expect(other.connection.payloads).to.include('b');
    });

    it('is superseded by a poll elsewhere', async () => {
      const { session, connection } = await instance.subscribe();
      const ids = await publish('a');
      await anInstance(backend).poll();
      session.acknowledge(ids);
      await backend.pass(COMMIT_MS);
      expect(connection.closes).to.deep.equal(['superseded']);
    });

    it('is superseded where it only finds out when it changes its topics', async () => {
      const { session, connection } = await instance.subscribe();
      await anInstance(backend).subscribe();
      const refused = await left(
        instance.sessions.extend(session, { topics: ['more' as never], start: { at: 'latest' } }),
      );
      expect(refused._tag).to.equal('VersionConflict');
      await settle();
      expect(connection.closes).to.deep.equal(['superseded']);
    });

    it('begins its journal anew, with all it knows, where that is gone', async () => {
      const { session, connection } = await instance.subscribe({ topics: ['orders', 'x.>'], maxInFlight: 7 });
      const ids = await publish('a', 'b');
      forget();
      session.acknowledge([ids[0]!]);
      await backend.pass(COMMIT_MS);
      expect(connection.closes).to.deep.equal([]);
      expect(instance.logger.events).to.include('journal_lost');
      await instance.sessions.end(session);
      const again = await instance.subscribe({ topics: [] });
      expect(again.session.topics).to.deep.equal(['orders', 'x.>']);
      expect(again.connection.payloads).to.deep.equal(['b']);
      expect((await instance.recorded()).settings.maxInFlight).to.equal(7);
    });

    it('is superseded where its journal is gone and somebody else began a new one', async () => {
      const { session, connection } = await instance.subscribe();
      const ids = await publish('a');
      forget();
      await backend.pass(COMMIT_MS);
      await anInstance(backend).subscribe({ topics: ['orders', 'more'] });
      await anInstance(backend).poll();
      session.acknowledge(ids);
      await backend.pass(COMMIT_MS);
      expect(connection.closes).to.deep.equal(['superseded']);
    });
  });

  describe('when it ends', () => {
    it('stops delivering at once, also what it is just reading', async () => {
      instance.store.canPeek = false;
      await publish('a');
      const release = instance.store.hold(({ operation }, way) => operation === 'read' && way === 'from');
      const opening = instance.subscribe({ start: { at: 'earliest' } });
      await settle();
      release();
      const { session, connection } = await opening;
      const before = connection.deliveries.length;
      const ending = instance.sessions.end(session);
      await publish('b');
      await ending;
      await publish('c');
      expect(connection.deliveries).to.have.length(before);
    });

    it('waits for a commit under way and records what came after it', async () => {
      const { session } = await instance.subscribe();
      const ids = await publish('a', 'b');
      const release = instance.store.hold(isCommit);
      session.acknowledge([ids[0]!]);
      void session.commit();
      await settle();
      session.acknowledge([ids[1]!]);
      const ending = instance.sessions.end(session);
      release();
      await ending;
      expect((await instance.subscribe()).connection.payloads).to.deep.equal([]);
    });

    it('has ended for everybody who ends it only when everything is recorded', async () => {
      const { session } = await instance.subscribe();
      session.acknowledge(await publish('a'));
      const release = instance.store.hold(isCommit);
      const first = instance.sessions.end(session);
      let isOver = false;
      const second = instance.sessions.end(session).then(() => (isOver = true));
      const stopped = instance.sessions.stop('going_away').then(() => (isOver = true));
      await settle();
      expect(isOver).to.be.false;
      release();
      await Promise.all([first, second, stopped]);
      expect((await instance.recorded()).positions.get('orders' as never)).to.deep.include({ due: [] });
    });

    it('leaves its topics', async () => {
      const { session } = await instance.subscribe();
      await instance.sessions.end(session);
      await backend.pass(31_000);
      expect(instance.feed.followed).to.equal(0);
    });
  });
});
