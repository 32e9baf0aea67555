import { expect } from 'chai';
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
});
