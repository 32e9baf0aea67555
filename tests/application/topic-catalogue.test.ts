import { expect } from 'chai';
import { forgettingIntervalMs } from '../../application/topic-catalogue.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import { aPattern } from '../support/builders.js';
import { anInstance, Backend, type Instance } from '../support/instance.js';
import { settle } from '../support/settle.js';
import { left, right } from '../support/task-either.js';

describe('The topic catalogue', () => {
  let backend: Backend;
  let instance: Instance;
  let created: string[];

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
    created = [];
    instance.catalogue.onCreated((topic) => created.push(topic));
  });

  const matching = (...patterns: readonly string[]) =>
    right(instance.catalogue.matching(patterns.map(aPattern)));

  it('knows the topics that there were before it was asked', async () => {
    await backend.publish('orders.eu', 'a');
    await backend.publish('orders.us', 'a');
    await backend.publish('users', 'a');
    expect(await matching('orders.*')).to.have.members(['orders.eu', 'orders.us']);
    expect(await matching('users', 'orders.us')).to.have.members(['users', 'orders.us']);
    expect(await matching('none.>')).to.deep.equal([]);
  });

  it('knows the topics that come into being afterwards, each once', async () => {
    await matching('>');
    await backend.publish('orders.eu', 'a');
    await backend.publish('orders.eu', 'b');
    expect(created).to.deep.equal(['orders.eu']);
    expect(await matching('>')).to.deep.equal(['orders.eu']);
  });

  it('knows more topics than fit in one page', async () => {
    for (let i = 0; i < 2_100; i++)
      await right(
        backend.store.append({ kind: 'topic', topic: `t${i}` as never }, [
          { type: 'MessagePublished', payload: '1' },
        ]),
      );
    expect(await matching('>')).to.have.length(2_100);
  });

  it('costs nothing until somebody asks for a pattern, and then one reading', async () => {
    let reads = 0;
    instance.store.fault = () => void (reads += 1);
    await backend.publish('orders', 'a');
    expect([instance.feed.followed, reads]).to.deep.equal([0, 0]);
    await Promise.all([matching('>'), matching('>'), matching('orders')]);
    const once = reads;
    await matching('>');
    expect([instance.feed.followed, reads]).to.deep.equal([1, once]);
  });

  it('misses no topic that comes into being while it reads', async () => {
    await backend.publish('early', 'a');
    for (const way of ['to', 'from'] as const) {
      const fresh = anInstance(backend);
      const release = fresh.store.hold((call, through) => call.operation === 'read' && through === way);
      const asked = fresh.catalogue.matching([aPattern('>')])();
      await settle();
      await backend.publish(`late-${way}`, 'a');
      release();
      const answer = await asked;
      const all = await right(fresh.catalogue.matching([aPattern('>')]));
      expect(all).to.include.members(['early', `late-${way}`]);
      expect(answer._tag).to.equal('Right');
    }
  });

  it('says so where it cannot be read or followed, and tries anew when asked again', async () => {
    await backend.publish('orders', 'a');
    instance.store.failOnce('not_stored', ({ operation }) => operation === 'read');
    expect(await left(instance.catalogue.matching([aPattern('>')]))).to.include({ _tag: 'StoreUnavailable' });
    expect(instance.feed.followed).to.equal(0);
    instance.feed.isReachable = false;
    expect(await left(instance.catalogue.matching([aPattern('>')]))).to.include({ _tag: 'StoreUnavailable' });
    instance.feed.isReachable = true;
    expect(await matching('>')).to.deep.equal(['orders']);
    expect(instance.feed.followed).to.equal(1);
  });

  describe('when topics are gone', () => {
    const RETENTION = { messagesMs: 60_000, subscriptionMs: 60_000 };
    const INTERVAL_MS = forgettingIntervalMs(RETENTION);
    let forgotten: TopicName[][];

    beforeEach(async () => {
      backend = new Backend(RETENTION);
      instance = anInstance(backend);
      [created, forgotten] = [[], []];
      await backend.publish('orders.eu', 'a');
      await backend.publish('orders.us', 'a');
      await matching('>');
      instance.catalogue.onCreated((topic) => created.push(topic));
      instance.catalogue.onForgotten((topics) => forgotten.push([...topics]));
    });

    /** Lets topics that nobody writes to expire, and the catalogue be read once or twice more. */
    const expire = () => backend.pass(120_000 + 2 * INTERVAL_MS);
    /** Only until the next reading. */
    const reread = () => backend.pass(INTERVAL_MS);
    const isCatalogueRead = ({ operation, stream }: { operation: string; stream: { kind: string } }) =>
      operation === 'read' && stream.kind === 'catalogue';
    const outOfReach = async (meanwhile: () => Promise<void>): Promise<void> => {
      instance.store.fault = (call) => (isCatalogueRead(call) ? 'not_stored' : undefined);
      await meanwhile();
      instance.store.fault = () => undefined;
    };

    it('forgets them, and says so once', async () => {
      await expire();
      expect(await matching('>')).to.deep.equal([]);
      await reread();
      expect(forgotten.map((topics) => topics.sort())).to.deep.equal([['orders.eu', 'orders.us']]);
    });

    it('keeps those that are there', async () => {
      for (let i = 0; i < 6; i++) {
        await backend.pass(30_000);
        await backend.publish('orders.us', 'b');
      }
      expect(await matching('>')).to.deep.equal(['orders.us']);
      expect(forgotten).to.deep.equal([['orders.eu']]);
      expect(created).to.deep.equal([]);
    });

    it('tells one that comes back as one that comes into being', async () => {
      await expire();
      await backend.publish('orders.eu', 'b');
      expect(created).to.deep.equal(['orders.eu']);
      expect(await matching('>')).to.deep.equal(['orders.eu']);
    });

    it('keeps one that comes into being, or comes back, while it reads', async () => {
      // Both are gone from the store, and not missed yet.
      await outOfReach(expire);
      const release = instance.store.hold((call, way) => isCatalogueRead(call) && way === 'from');
      await reread();
      await backend.publish('orders.eu', 'b');
      await backend.publish('users', 'a');
      release();
      await backend.pass(100);
      expect(await matching('>')).to.have.members(['orders.eu', 'users']);
      expect(forgotten).to.deep.equal([['orders.us']]);
      expect(created).to.deep.equal(['users']);
      // What was told during one reading is no reason to keep it at the next.
      await expire();
      expect(await matching('>')).to.deep.equal([]);
      expect(forgotten.flat().sort()).to.deep.equal(['orders.eu', 'orders.us', 'users']);
    });

    it('finds by reading what the feed has not told', async () => {
      instance.feed.loses = () => true;
      await backend.publish('users', 'a');
      expect(await matching('users')).to.deep.equal([]);
      await reread();
      expect(await matching('users')).to.deep.equal(['users']);
      expect(created).to.deep.equal(['users']);
    });

    it('keeps what it knows while the store is out of reach, and forgets it afterwards', async () => {
      await outOfReach(expire);
      expect(await matching('>')).to.have.members(['orders.eu', 'orders.us']);
      expect(forgotten).to.deep.equal([]);
      await reread();
      expect(await matching('>')).to.deep.equal([]);
      expect(forgotten).to.have.length(1);
    });

    it('leaves no timer and follows nothing once it is closed, even while it reads', async () => {
      const idle = anInstance(backend);
      const waiting = backend.clock.waiting;
      await right(idle.catalogue.matching([aPattern('>')]));
      expect([idle.feed.followed, backend.clock.waiting]).to.deep.equal([1, waiting + 1]);
      idle.catalogue.close();
      expect([idle.feed.followed, backend.clock.waiting]).to.deep.equal([0, waiting]);

      await outOfReach(expire);
      const release = instance.store.hold(isCatalogueRead);
      await reread();
      const whileReading = backend.clock.waiting;
      instance.catalogue.close();
      release();
      await backend.pass(100);
      expect([instance.feed.followed, backend.clock.waiting]).to.deep.equal([0, whileReading]);
      expect(forgotten).to.deep.equal([]);
    });
  });

  it('looks for topics that are gone as often as their life is long, within reason', () => {
    const every = (messagesMs: number, subscriptionMs: number) =>
      forgettingIntervalMs({ messagesMs, subscriptionMs });
    expect(every(60_000, 60_000)).to.equal(30_000);
    expect(every(1, 1)).to.equal(1_000);
    expect(every(24 * 3_600_000, 7 * 24 * 3_600_000)).to.equal(600_000);
  });
});
