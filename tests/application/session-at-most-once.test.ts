import { expect } from 'chai';
import { anInstance, Backend, type Instance, type Wanted } from '../support/instance.js';
import { settle } from '../support/settle.js';
import { isCommit, type Fault } from '../support/unreliable-store.js';

const AT_MOST_ONCE = { guarantee: 'at_most_once' } as const satisfies Wanted;

describe('A session that delivers at most once', () => {
  let backend: Backend;
  let instance: Instance;
  const publish = (...payloads: readonly string[]) => backend.publish('orders', ...payloads);

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  describe('and is durable', () => {
    it('records a batch before it sends it', async () => {
      const { connection } = await instance.subscribe(AT_MOST_ONCE);
      const recorded: (number | undefined)[] = [];
      const deliver = connection.deliver.bind(connection);
      const journal = instance.store;
      let appended = 0;
      journal.delay = (call, way) => {
        if (isCommit(call) && way === 'from') appended += 1;
        return Promise.resolve();
      };
      connection.deliver = (...args: Parameters<typeof deliver>) => {
        recorded.push(appended);
        return deliver(...args);
      };
      await publish('a', 'b');
      await publish('c');
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c']);
      expect(recorded).to.deep.equal([1, 2]);
    });

    it('needs no acknowledgement, and takes one', async () => {
      const { session, connection } = await instance.subscribe({
        ...AT_MOST_ONCE,
        maxInFlight: 2,
        ackTimeoutMs: 1_000,
      });
      const ids = await publish('a', 'b', 'c', 'd', 'e');
      await backend.pass(5_000);
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
      expect(session.acknowledge(ids)).to.deep.equal([]);
    });

    it('goes on behind what it sent when its client comes back', async () => {
      const first = await instance.subscribe(AT_MOST_ONCE);
      await publish('a');
      await instance.sessions.end(first.session);
      await publish('b');
      const { connection } = await anInstance(backend).subscribe();
      expect(connection.payloads).to.deep.equal(['b']);
    });

    for (const fault of ['not_stored', 'lost', 'unanswered'] satisfies readonly Fault[]) {
      it(`sends nothing while recording is ${fault}, and everything once afterwards`, async () => {
        const { connection } = await instance.subscribe(AT_MOST_ONCE);
        instance.store.fault = (call) => (isCommit(call) ? fault : undefined);
        await publish('a');
        await publish('b');
        await backend.pass(1_000);
        expect(connection.payloads).to.deep.equal([]);
        instance.store.fault = () => undefined;
        await backend.pass(1_000);
        expect(connection.payloads).to.deep.equal(['a', 'b']);
      });

      it(`never delivers twice where it moves while recording is ${fault}`, async () => {
        const first = await instance.subscribe(AT_MOST_ONCE);
        await publish('a');
        instance.store.failOnce(fault, isCommit);
        await publish('b');
        const { connection } = await anInstance(backend).subscribe();
        await backend.pass(1_000);
        await publish('c');
        await backend.pass(1_000);
        const all = [...first.connection.payloads, ...connection.payloads];
        expect(all).to.deep.equal([...new Set(all)]);
        expect(all).to.include.members(['a', 'c']);
      });
    }

    it('tells every other session of its subscription nothing it sends itself', async () => {
      const first = await instance.subscribe(AT_MOST_ONCE);
      const second = await anInstance(backend).subscribe();
      await publish('a');
      await publish('b');
      await backend.pass(1_000);
      expect(first.connection.payloads).to.deep.equal([]);
      expect(first.connection.closes).to.deep.equal(['superseded']);
      expect(second.connection.payloads).to.deep.equal(['a', 'b']);
    });

    it('sends nothing that it recorded only while it ended', async () => {
      const { session, connection } = await instance.subscribe(AT_MOST_ONCE);
      const release = instance.store.hold(isCommit);
      await publish('a');
      const ending = instance.sessions.end(session);
      release();
      await ending;
      await settle();
      expect(connection.payloads).to.deep.equal([]);
      expect(instance.metrics.dropped).to.deep.equal({ slow_consumer: 0, connection_lost: 1 });
    });

    it('writes nothing to a full connection and loses nothing by it', async () => {
      const { session, connection } = await instance.subscribe(AT_MOST_ONCE);
      connection.answer = 'full';
      await publish('a');
      await publish('b');
      connection.drain();
      session.onWritable();
      await settle();
      await publish('c');
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c']);
      expect(connection.overruns).to.equal(0);
    });

    it('delivers topics that a pattern comes to match', async () => {
      const { connection } = await instance.subscribe({ ...AT_MOST_ONCE, topics: ['x.>'] });
      await backend.publish('x.y', '1', '2');
      await backend.publish('x.y', '3');
      expect(connection.payloads).to.deep.equal(['1', '2', '3']);
    });
  });

  describe('and is not durable', () => {
    it('sends each message once and waits for nothing', async () => {
      const { connection } = await instance.subscribe({
        ...AT_MOST_ONCE,
        clientId: undefined,
        maxInFlight: 1,
      });
      await publish('a', 'b');
      await publish('c');
      await backend.pass(60_000);
      expect(connection.payloads).to.deep.equal(['a', 'b', 'c']);
    });

    it('drops what comes while its connection takes nothing, says so, and goes on', async () => {
      const { session, connection } = await instance.subscribe({ ...AT_MOST_ONCE, clientId: undefined });
      connection.answer = 'full';
      const [a] = await publish('a');
      await publish('b', 'c');
      const [d] = await publish('d');
      expect(connection.payloads).to.deep.equal(['a']);
      connection.drain();
      session.onWritable();
      await settle();
      const [gap, ...others] = connection.gaps;
      expect(others).to.deep.equal([]);
      expect(gap).to.deep.include({ topic: 'orders', reason: 'slow_consumer' });
      expect([gap?.from.offset, gap?.to.offset]).to.deep.equal([a?.offset, d?.offset]);
      expect(instance.metrics.dropped).to.deep.equal({ slow_consumer: 3, connection_lost: 0 });
      await publish('e');
      expect(connection.payloads).to.deep.equal(['a', 'e']);
    });

    it('counts what it has dropped where its connection ends without having taken anything', async () => {
      const { session, connection } = await instance.subscribe({ ...AT_MOST_ONCE, clientId: undefined });
      connection.answer = 'full';
      await publish('a');
      await publish('b', 'c');
      await instance.sessions.end(session, 'slow_consumer');
      expect(instance.metrics.dropped).to.deep.equal({ slow_consumer: 2, connection_lost: 0 });
    });

    it('drops nothing of a backlog that it is catching up with', async () => {
      await publish(...Array.from({ length: 250 }, (_, i) => String(i)));
      const { session, connection } = await instance.subscribe({
        ...AT_MOST_ONCE,
        clientId: undefined,
        start: { at: 'earliest' },
      });
      for (let i = 0; i < 3; i++) {
        connection.answer = 'full';
        await publish(`live ${i}`);
        connection.drain();
        session.onWritable();
        await settle();
      }
      expect(connection.payloads).to.have.length(253);
      expect(connection.gaps).to.deep.equal([]);
    });

    it('counts what it writes to a connection that is gone', async () => {
      const { connection } = await instance.subscribe({ ...AT_MOST_ONCE, clientId: undefined });
      connection.answer = 'closed';
      await publish('a');
      expect(instance.metrics.dropped).to.deep.equal({ slow_consumer: 0, connection_lost: 1 });
    });
  });
});
