import { expect } from 'chai';
import { formatMessageId, type MessageId } from '../../domain/message/message-id.js';
import type { Settled } from '../../application/settling.js';
import { NOTHING_SETTLED } from '../../application/unsettled-ids.js';
import { aTopic } from '../support/builders.js';
import { anInstance, Backend, idsOf, payloadsOf, type Instance } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { settle } from '../support/settle.js';
import { left, right } from '../support/task-either.js';
import { isCommit } from '../support/unreliable-store.js';

const EARLIEST = { at: 'earliest' } as const;

const settledNow = (count: number): Settled => ({ ...NOTHING_SETTLED, count });

describe('Settling over HTTP', () => {
  let backend: Backend;
  let instance: Instance;
  const publish = (...payloads: readonly string[]) => backend.publish('orders', ...payloads);

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  const names = (ids: readonly MessageId[]): readonly string[] =>
    ids.map(({ topic, offset }) => formatMessageId(topic, offset));

  describe('what a poll was given', () => {
    it('settles it: it does not come again', async () => {
      await publish('a', 'b');
      const answer = await instance.poll({ start: EARLIEST, ackTimeoutMs: 1_000 });
      expect(await right(instance.acknowledge(idsOf(answer).slice(0, 1)))).to.deep.equal(settledNow(1));
      await backend.pass(1_000);
      expect(payloadsOf(await instance.poll())).to.deep.equal(['b']);
    });

    it('may reach another instance', async () => {
      await publish('a');
      const answer = await instance.poll({ start: EARLIEST, ackTimeoutMs: 1_000 });
      await right(anInstance(backend).acknowledge(idsOf(answer)));
      await backend.pass(1_000);
      expect(payloadsOf(await instance.poll())).to.deep.equal([]);
    });

    it('may come one by one and all at once', async () => {
      await publish(...Array.from({ length: 40 }, (_, i) => String(i)));
      const ids = idsOf(await instance.poll({ start: EARLIEST, max: 40 }));
      const answers = await Promise.all(ids.map((id) => right(instance.acknowledge([id]))));
      expect(answers.every(({ count }) => count === 1)).to.be.true;
    });

    it('may be repeated, and may come late', async () => {
      await publish('a');
      const ids = idsOf(await instance.poll({ start: EARLIEST, ackTimeoutMs: 1_000 }));
      await backend.pass(5_000);
      await instance.poll();
      expect(await right(instance.acknowledge([...ids, ...ids]))).to.deep.equal(settledNow(1));
      for (let i = 0; i < 2; i++) {
        expect(await right(instance.acknowledge(ids))).to.deep.equal({
          ...NOTHING_SETTLED,
          alreadySettled: ids,
        });
      }
      const version = (await instance.folded()).at.n;
      await right(instance.acknowledge(ids));
      expect((await instance.folded()).at.n).to.equal(version);
    });

    it('may come in any order and over several topics, and is recorded together', async () => {
      await publish('a', 'b');
      await backend.publish('other', 'c');
      const topics = ['orders', 'other'];
      const ids = idsOf(await instance.poll({ topics, start: EARLIEST }));
      const before = (await instance.folded()).at.n;
      expect(await right(instance.acknowledge([...ids].reverse()))).to.deep.equal(settledNow(3));
      const { at, state } = await instance.folded();
      expect(at.n).to.equal(before + topics.length);
      for (const position of state.positions.values()) expect(position.inFlight).to.deep.equal([]);
    });

    it('is answered only when it is recorded', async () => {
      await publish('a');
      const ids = idsOf(await instance.poll({ start: EARLIEST }));
      instance.store.failOnce('lost', isCommit);
      expect(await left(instance.acknowledge(ids))).to.deep.include({
        _tag: 'StoreUnavailable',
        outcome: 'unknown',
      });
      expect(await right(instance.acknowledge(ids))).to.deep.equal(settledNow(1));
    });

    it('is not lost to others that come at the same time', async () => {
      await publish(...Array.from({ length: 6 }, (_, i) => String(i)));
      const ids = idsOf(await instance.poll({ start: EARLIEST, ackTimeoutMs: 1_000 }));
      const other = anInstance(backend);
      await Promise.all(ids.map((id, i) => right((i % 2 === 0 ? instance : other).acknowledge([id]))));
      await backend.pass(1_000);
      expect(payloadsOf(await instance.poll())).to.deep.equal([]);
    });
  });

  describe('what was never delivered', () => {
    it('names it, and settles the rest', async () => {
      const [a, b] = await publish('a', 'b');
      await instance.poll({ start: EARLIEST, max: 1 });
      const foreign = { ...a!, topic: aTopic('foreign') };
      const answer = await right(instance.acknowledge([b!, a!, foreign]));
      expect(answer.count).to.equal(1);
      expect(names(answer.unknown)).to.have.members(names([b!, foreign]));
      expect(payloadsOf(await instance.poll())).to.deep.equal(['b']);
    });

    it('knows nothing of a subscription that nobody has opened, and opens none', async () => {
      const ids = await publish('a');
      expect(await right(instance.acknowledge(ids))).to.deep.equal({ ...NOTHING_SETTLED, unknown: ids });
      expect((await instance.folded()).at.n).to.equal(0);
    });

    it('touches nobody else: not another client, not another principal', async () => {
      const ids = await publish('a');
      for (const wanted of [{}, { clientId: 'tv' }, { principal: aPrincipal({ id: 'jwt:bob' }) }]) {
        await instance.poll({ ...wanted, start: EARLIEST, ackTimeoutMs: 1_000 });
      }
      await right(instance.acknowledge(ids));
      await backend.pass(1_000);
      expect(payloadsOf(await instance.poll())).to.deep.equal([]);
      expect(payloadsOf(await instance.poll({ clientId: 'tv' }))).to.deep.equal(['a']);
      expect(payloadsOf(await instance.poll({ principal: aPrincipal({ id: 'jwt:bob' }) }))).to.deep.equal([
        'a',
      ]);
    });
  });

  describe('what a connection of this instance was given', () => {
    it('settles it, makes room, and is recorded when answered', async () => {
      const { connection } = await instance.subscribe({ maxInFlight: 1, ackTimeoutMs: 1_000 });
      const ids = await publish('a', 'b');
      expect(await right(instance.acknowledge([ids[0]!]))).to.deep.equal(settledNow(1));
      expect((await instance.recorded()).positions.get(aTopic('orders'))?.next.n).to.be.at.least(1);
      await settle();
      expect(connection.payloads).to.deep.equal(['a', 'b']);
      await backend.pass(1_500);
      expect(connection.payloads).to.deep.equal(['a', 'b', 'b']);
    });

    it('says that the outcome is unknown where it could not be recorded, and records it later', async () => {
      const { session } = await instance.subscribe();
      const ids = await publish('a');
      instance.store.failOnce('not_stored', isCommit);
      expect(await left(instance.acknowledge(ids))).to.deep.include({
        _tag: 'StoreUnavailable',
        outcome: 'unknown',
      });
      await backend.pass(100);
      expect(session.needsCommit).to.be.false;
    });

    it('is confirmed though the connection acknowledges more at the same time', async () => {
      const { session } = await instance.subscribe();
      const ids = await publish('a', 'b');
      const release = instance.store.hold((call, way) => isCommit(call) && way === 'from');
      const confirmed = instance.acknowledge([ids[0]!])();
      await settle();
      session.acknowledge([ids[1]!]);
      release();
      expect(await confirmed).to.deep.equal({ _tag: 'Right', right: settledNow(1) });
    });

    it('is not confirmed and forgotten where the connection ends at the same time', async () => {
      const { session } = await instance.subscribe();
      const ids = await publish('a', 'b');
      session.acknowledge([ids[0]!]);
      const release = instance.store.hold(isCommit);
      const ending = instance.sessions.end(session);
      await settle();
      const confirmed = instance.acknowledge([ids[1]!])();
      await settle();
      release();
      await ending;
      expect(await confirmed).to.deep.equal({ _tag: 'Right', right: settledNow(1) });
      expect((await instance.subscribe()).connection.payloads).to.deep.equal([]);
    });

    it('is known though another instance has taken the subscription over', async () => {
      await instance.subscribe();
      const ids = await publish('a');
      await backend.pass(100);
      const later = await anInstance(backend).subscribe({ start: EARLIEST });
      await settle();
      later.session.acknowledge([]);
      const other = anInstance(backend);
      await other.poll({ max: 1 });
      expect(await right(instance.acknowledge(ids))).to.deep.equal(settledNow(1));
      await backend.pass(60_000);
      expect(payloadsOf(await other.poll())).to.deep.equal([]);
    });
  });
});
