import { expect } from 'chai';
import type { MessageId } from '../../domain/message/message-id.js';
import { NO_OFFSET } from '../../domain/message/offset.js';
import { aPattern, aTopic } from '../support/builders.js';
import { anInstance, Backend, idsOf, payloadsOf, type Instance } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { topicStream } from '../../application/ports/event-store.js';
import { settle } from '../support/settle.js';
import { left, right } from '../support/task-either.js';

const EARLIEST = { at: 'earliest' } as const;
const ORDERS = aTopic('orders');

describe('Dead letters', () => {
  let backend: Backend;
  let instance: Instance;
  const base = aPrincipal();
  const manager = { ...base, grants: { ...base.grants, manage: [aPattern('orders.>'), aPattern('orders')] } };

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend);
  });

  const bury = async (topic: string, ...payloads: readonly string[]): Promise<void> => {
    await backend.publish(topic, ...payloads);
    const topics = [topic];
    const ids = idsOf(await instance.poll({ topics, start: EARLIEST }));
    await right(instance.settle({ type: 'Terminate', ids }));
  };

  const listed = async (topic = ORDERS): Promise<readonly MessageId[]> => {
    const page = await right(instance.deadLetters.list(manager, topic, NO_OFFSET, 100));
    return page.messages.map(({ offset }) => ({ topic: page.deadLetterTopic!, offset }));
  };

  it('are listed page by page, oldest first', async () => {
    await bury('orders', 'a', 'b', 'c');
    const first = await right(instance.deadLetters.list(manager, ORDERS, NO_OFFSET, 2));
    expect(first.deadLetterTopic).to.equal('dlq.orders');
    expect(first.messages.map(({ event }) => event.payload)).to.deep.equal(['a', 'b']);
    const after = first.messages[1]!.offset;
    const second = await right(instance.deadLetters.list(manager, ORDERS, after, 2));
    expect(second.messages.map(({ event }) => event.payload)).to.deep.equal(['c']);
  });

  it('are sent back as they were, in their order, and are gone from the list', async () => {
    await bury('orders', 'a', 'b', 'c');
    const redriven = await right(instance.deadLetters.redrive(manager, ORDERS, { oldest: 2 }));
    await settle();
    expect(redriven).to.deep.equal({ count: 2, unknown: [] });
    const answer = await instance.poll();
    expect(payloadsOf(answer)).to.deep.equal(['a', 'b']);
    expect(answer.messages[0]?.message.event).to.not.have.property('headers');
    expect(await listed()).to.have.length(1);
  });

  it('are sent back by their ids, and ids that are not there are named', async () => {
    await bury('orders', 'a', 'b', 'c');
    const ids = await listed();
    const elsewhere = { topic: ORDERS, offset: ids[0]!.offset };
    const which = { ids: [ids[2]!, elsewhere, ids[0]!] };
    const redriven = await right(instance.deadLetters.redrive(manager, ORDERS, which));
    await settle();
    expect(redriven).to.deep.equal({ count: 2, unknown: [elsewhere] });
    expect(payloadsOf(await instance.poll())).to.deep.equal(['a', 'c']);
    expect(await right(instance.deadLetters.redrive(manager, ORDERS, which))).to.deep.equal({
      count: 0,
      unknown: which.ids,
    });
  });

  it('are sent back once, though taking them out has failed the first time', async () => {
    await bury('orders', 'a');
    instance.store.failOnce('lost', ({ operation }) => operation === 'remove');
    expect(await left(instance.deadLetters.redrive(manager, ORDERS, { oldest: 10 }))).to.include({
      outcome: 'unknown',
    });
    await right(instance.deadLetters.redrive(manager, ORDERS, { oldest: 10 }));
    await settle();
    expect(payloadsOf(await instance.poll())).to.deep.equal(['a']);
    expect(await listed()).to.deep.equal([]);
  });

  it('are found behind what the storage has lost', async () => {
    const dlq = topicStream(aTopic('dlq.orders'));
    await right(backend.store.append(dlq, [{ type: 'MessagesLost', reason: 'stream_reset' }]));
    await bury('orders', 'a');
    const first = await right(instance.deadLetters.list(manager, ORDERS, NO_OFFSET, 1));
    expect(first.messages).to.deep.equal([]);
    expect(await right(instance.deadLetters.list(manager, ORDERS, first.next!, 1)))
      .to.have.property('messages')
      .with.length(1);
    expect((await right(instance.deadLetters.redrive(manager, ORDERS, { oldest: 1 }))).count).to.equal(1);
  });

  it('are counted once, however often one is given up', async () => {
    await backend.publish('orders', 'a');
    const ids = idsOf(await instance.poll({ start: EARLIEST }));
    instance.store.failOnce(
      'lost',
      ({ operation, stream }) => operation === 'append' && stream.kind === 'subscription',
    );
    await left(instance.settle({ type: 'Terminate', ids }));
    await right(instance.settle({ type: 'Terminate', ids }));
    expect(instance.metrics.deadLettered.terminated).to.equal(1);
  });

  it('of topics with long names share a topic, and are not mixed up', async () => {
    const [one, other] = ['orders.2.3.4.5.6.7.8', 'orders.b.c.d.e.f.g.h'];
    await bury(one, 'a');
    await bury(other, 'b');
    expect(await listed(aTopic(one))).to.have.length(1);
    await right(instance.deadLetters.redrive(manager, aTopic(other), { oldest: 10 }));
    expect(await listed(aTopic(other))).to.deep.equal([]);
    expect(await listed(aTopic(one))).to.have.length(1);
  });

  it('are nobody’s business without the grant to manage their topic', async () => {
    const forbidden = { _tag: 'Forbidden', action: 'manage', topic: 'other' };
    const other = aTopic('other');
    expect(await left(instance.deadLetters.list(manager, other, NO_OFFSET, 1))).to.deep.equal(forbidden);
    expect(await left(instance.deadLetters.redrive(manager, other, { oldest: 1 }))).to.deep.equal(forbidden);
  });
});
