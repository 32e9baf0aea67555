import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { topicStream, type StoredEvent } from '../../application/ports/event-store.js';
import {
  makePublishMessages,
  type AddressedPublication,
  type PublishMessages,
} from '../../application/publish-messages.js';
import { NO_OFFSET } from '../../domain/message/offset.js';
import type { Publication } from '../../domain/topic/topic.js';
import { aMessage, aTopic } from '../support/builders.js';
import { Backend } from '../support/instance.js';
import { TEST_START } from '../support/manual-clock.js';
import { aPrincipal } from '../support/principals.js';
import { SilentMetrics } from '../support/silent.js';
import { left, right } from '../support/task-either.js';
import { UnreliableStore, type Fault } from '../support/unreliable-store.js';

describe('Publishing', () => {
  let backend: Backend;
  let store: UnreliableStore;
  let metrics: SilentMetrics;
  let publish: PublishMessages;
  const alice = aPrincipal({ publish: ['orders.>', 'orders'] });

  beforeEach(() => {
    backend = new Backend();
    store = new UnreliableStore(backend.store);
    metrics = new SilentMetrics();
    publish = makePublishMessages(store, backend.clock, metrics, { payloadBytesMax: 20 });
  });

  const item = (topic: string, payload: string, rest: Partial<Publication> = {}): AddressedPublication => ({
    topic: aTopic(topic),
    publication: { payload, ...rest },
  });

  const stored = async (topic: string): Promise<readonly StoredEvent[]> =>
    (await right(backend.store.read(topicStream(aTopic(topic)), NO_OFFSET, 100))).map(({ event }) => event);

  const payloads = async (topic: string): Promise<readonly string[]> =>
    (await stored(topic)).map((event) => (event.type === 'MessagePublished' ? event.payload : ''));

  describe('one message', () => {
    it('stores it as it came, and says where and when', async () => {
      await backend.pass(100);
      const receipt = await right(
        publish.one(alice, item('orders', '{ "a": 1 }', { key: 'k', ttlSeconds: 2 })),
      );
      expect(receipt).to.deep.equal({
        topic: 'orders',
        offset: (TEST_START + 100) * 1024,
        publishedAt: TEST_START + 100,
      });
      const expiresAt = TEST_START + 2_100;
      expect(await stored('orders')).to.deep.equal([
        aMessage({ payload: '{ "a": 1 }', key: 'k', expiresAt }),
      ]);
    });

    it('is not answered before it is stored', async () => {
      const release = store.hold((_, way) => way === 'to');
      let isOver = false;
      const receipt = publish
        .one(alice, item('orders', '1'))()
        .then(() => (isOver = true));
      await backend.pass(100);
      expect(isOver).to.be.false;
      release();
      await receipt;
      expect(await payloads('orders')).to.deep.equal(['1']);
    });

    it('is refused where the topic is not granted, or the message is not valid', async () => {
      expect(await left(publish.one(alice, item('users', '1')))).to.include({
        _tag: 'Forbidden',
        topic: 'users',
      });
      const invalid = publish.one(alice, item('orders', '1', { ttlSeconds: 0 }));
      expect(await left(invalid)).to.include({ _tag: 'InvalidPublication', field: 'ttl' });
      const large = publish.one(alice, item('orders', `"${'x'.repeat(20)}"`));
      expect(await left(large)).to.deep.equal({ _tag: 'PayloadTooLarge', payloadBytesMax: 20 });
      expect(await stored('orders')).to.deep.equal([]);
      expect(metrics.received).to.equal(0);
    });

    for (const [fault, outcome] of [
      ['not_stored', 'not_stored'],
      ['lost', 'unknown'],
      ['unanswered', 'unknown'],
    ] satisfies readonly (readonly [Fault, string])[]) {
      it(`says whether it may have been stored when the append is ${fault}`, async () => {
        store.failOnce(fault, () => true);
        const failure = await left(publish.one(alice, item('orders', '1')));
        expect(failure).to.deep.include({ _tag: 'StoreUnavailable', outcome });
        expect(await payloads('orders')).to.deep.equal(fault === 'unanswered' ? ['1'] : []);
        expect(metrics.received).to.equal(0);
      });
    }

    it('is counted once it is stored', async () => {
      await right(publish.one(alice, item('orders', '1')));
      expect(metrics.received).to.equal(1);
    });
  });

  describe('many messages', () => {
    it('stores them in their order within each topic, and answers in the order given', async () => {
      const items = [
        item('orders.a', '1'),
        item('orders.b', '2'),
        item('orders.a', '3'),
        item('orders.b', '4'),
      ];
      const results = await publish.many(alice, items)();
      expect(results.every(E.isRight)).to.be.true;
      expect(await payloads('orders.a')).to.deep.equal(['1', '3']);
      expect(await payloads('orders.b')).to.deep.equal(['2', '4']);
      expect(results.map((result) => (E.isRight(result) ? result.right.topic : ''))).to.deep.equal(
        items.map(({ topic }) => topic),
      );
      const [first, , third] = results;
      if (!first || !third || E.isLeft(first) || E.isLeft(third)) throw new Error('not stored');
      expect(third.right.offset).to.be.above(first.right.offset);
      expect(metrics.received).to.equal(4);
    });

    it('stores those it may, and refuses the others where they stand', async () => {
      const items = [
        item('orders', '1'),
        item('users', '2'),
        item('orders', '3', { priority: 11 }),
        item('orders', '4'),
      ];
      const results = await publish.many(alice, items)();
      expect(results.map((result) => (E.isLeft(result) ? result.left._tag : 'stored'))).to.deep.equal([
        'stored',
        'Forbidden',
        'InvalidPublication',
        'stored',
      ]);
      expect(await payloads('orders')).to.deep.equal(['1', '4']);
      expect(await stored('users')).to.deep.equal([]);
    });

    it('answers for each topic by itself where one of them cannot be stored', async () => {
      store.failOnce('not_stored', ({ stream }) => stream.kind === 'topic' && stream.topic === 'orders.a');
      const items = [item('orders.a', '1'), item('orders.b', '2'), item('orders.a', '3')];
      const results = await publish.many(alice, items)();
      expect(results.map((result) => result._tag)).to.deep.equal(['Left', 'Right', 'Left']);
    });

    it('appends once per topic', async () => {
      let appends = 0;
      store.fault = () => void (appends += 1);
      await publish.many(
        alice,
        Array.from({ length: 30 }, (_, i) => item(`orders.t${i % 3}`, String(i))),
      )();
      expect(appends).to.equal(3);
    });

    it('answers nothing to nothing', async () => {
      expect(await publish.many(alice, [])()).to.deep.equal([]);
    });
  });
});
