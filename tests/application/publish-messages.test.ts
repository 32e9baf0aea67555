import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { topicStream, type StoredEvent } from '../../application/ports/event-store.js';
import {
  makePublishMessages,
  type AddressedPublication,
  type PublishMessages,
  type PublishSettings,
  type Receipt,
} from '../../application/publish-messages.js';
import type { PublishRefusal } from '../../application/refusals.js';
import { NO_OFFSET } from '../../domain/message/offset.js';
import type { Publication } from '../../domain/topic/topic.js';
import { sha256Digest } from '../../infrastructure/system/sha256-digest.js';
import { aMessage, aTopic } from '../support/builders.js';
import { Backend } from '../support/instance.js';
import { TEST_START } from '../support/manual-clock.js';
import { aPrincipal } from '../support/principals.js';
import { SilentMetrics } from '../support/silent.js';
import { left, right } from '../support/task-either.js';
import { UnreliableStore, type Fault } from '../support/unreliable-store.js';

const WINDOW_MS = 60_000;
const SETTINGS: PublishSettings = { payloadBytesMax: 20, idempotencyWindowMs: WINDOW_MS };

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
    publish = makePublishMessages(store, backend.clock, metrics, sha256Digest, SETTINGS);
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
        isDuplicate: false,
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

    it('is answered, stored and counted as a bulk of that one is', async () => {
      const items: readonly AddressedPublication[] = [
        item('orders', '1', { key: 'k', priority: 3, ttlSeconds: 2 }),
        item('users', '2'),
        item('orders', '3', { ttlSeconds: 0 }),
        { ...item('orders', '4'), durability: 'fsync' },
        { ...item('orders', '5'), idempotencyKey: 'i' },
        { ...item('orders', '6'), idempotencyKey: 'i' },
      ];
      for (const fault of [undefined, 'not_stored', 'lost', 'unanswered'] satisfies (Fault | undefined)[]) {
        const [alone, inBulk] = await Promise.all(
          [false, true].map(async (isBulk) => {
            const own = new Backend();
            const unreliable = new UnreliableStore(own.store);
            const counted = new SilentMetrics();
            const { one, many } = makePublishMessages(unreliable, own.clock, counted, sha256Digest, SETTINGS);
            if (fault !== undefined) unreliable.fault = () => fault;
            const answers: unknown[] = [];
            for (const each of items)
              answers.push(isBulk ? (await many(alice, [each])())[0] : await one(alice, each)());
            const events = await right(own.store.read(topicStream(aTopic('orders')), NO_OFFSET, 100));
            return { answers, events, received: counted.received };
          }),
        );
        expect(alone).to.deep.equal(inBulk);
      }
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

  describe('a message with an idempotency key', () => {
    const keyed = (
      idempotencyKey: string,
      payload = '1',
      rest: Partial<Publication> = {},
      topic = 'orders',
    ): AddressedPublication => ({ ...item(topic, payload, rest), idempotencyKey });

    it('is stored once, and answered the second time as the first, as a duplicate', async () => {
      const first = await right(publish.one(alice, keyed('k')));
      await backend.pass(1_000);
      const second = await right(publish.one(alice, keyed('k')));
      expect(first.isDuplicate).to.be.false;
      expect(second).to.deep.equal({ ...first, isDuplicate: true });
      expect(await payloads('orders')).to.deep.equal(['1']);
      expect(metrics.received).to.equal(1);
    });

    it('is stored once where it is published many times at once', async () => {
      const receipts = await Promise.all(
        Array.from({ length: 20 }, () => right(publish.one(alice, keyed('k')))),
      );
      expect(await payloads('orders')).to.deep.equal(['1']);
      expect(new Set(receipts.map(({ offset }) => offset)).size).to.equal(1);
      expect(receipts.filter(({ isDuplicate }) => !isDuplicate)).to.have.length(1);
    });

    it('keeps its first expiry when it is published again', async () => {
      await right(publish.one(alice, keyed('k', '1', { ttlSeconds: 2 })));
      await backend.pass(1_000);
      await right(publish.one(alice, keyed('k', '1', { ttlSeconds: 2 })));
      expect(await stored('orders')).to.deep.equal([
        aMessage({ payload: '1', expiresAt: TEST_START + 2_000 }),
      ]);
    });

    it('is stored again once the window is over', async () => {
      await right(publish.one(alice, keyed('k')));
      await backend.pass(WINDOW_MS + 1);
      expect(await right(publish.one(alice, keyed('k')))).to.include({ isDuplicate: false });
      expect(await payloads('orders')).to.deep.equal(['1', '1']);
    });

    const base = { ttlSeconds: 60, key: 'a', priority: 1, headers: { a: 'x', b: 'y' } };
    const others: Readonly<Record<string, AddressedPublication>> = {
      payload: keyed('k', '2', base),
      'payload, if only by a space': keyed('k', '1 ', base),
      topic: keyed('k', '1', base, 'orders.new'),
      ttl: keyed('k', '1', { ...base, ttlSeconds: 61 }),
      key: keyed('k', '1', { ...base, key: 'b' }),
      priority: keyed('k', '1', { ...base, priority: 2 }),
      headers: keyed('k', '1', { ...base, headers: { a: 'x', b: 'z' } }),
    };
    for (const [name, other] of Object.entries(others)) {
      it(`is refused where the key was given to a message with another ${name}`, async () => {
        await right(publish.one(alice, keyed('k', '1', base)));
        expect(await left(publish.one(alice, other))).to.deep.equal({ _tag: 'IdempotencyKeyReused' });
        expect(await payloads('orders')).to.deep.equal(['1']);
        expect(await payloads('orders.new')).to.deep.equal([]);
        expect(metrics.received).to.equal(1);
      });
    }

    it('is the same message whatever the order of its headers', async () => {
      await right(publish.one(alice, keyed('k', '1', base)));
      const again = keyed('k', '1', { ...base, headers: { b: 'y', a: 'x' } });
      expect(await right(publish.one(alice, again))).to.include({ isDuplicate: true });
    });

    it('never meets the message of another principal, however principal and key are cut', async () => {
      const names: readonly (readonly [string, string])[] = [
        ['jwt:a', 'b:c'],
        ['jwt:a:b', 'c'],
        ['jwt:a","b', 'c'],
        ['jwt:a', 'b","c'],
      ];
      for (const [id, key] of names) {
        const receipt = await right(publish.one(aPrincipal({ id }), keyed(key, `"${id}"`)));
        expect(receipt, `${id} ${key}`).to.include({ isDuplicate: false });
      }
      expect(await payloads('orders')).to.have.length(names.length);
    });

    it('may have the longest key of the principal with the longest name', async () => {
      const somebody = aPrincipal({ id: `jwt:${'ü'.repeat(256)}` });
      const longest = keyed('k'.repeat(255));
      await right(publish.one(somebody, longest));
      expect(await right(publish.one(somebody, longest))).to.include({ isDuplicate: true });
    });

    it('leaves its key free where it is refused or could not be stored', async () => {
      await left(publish.one(alice, keyed('k', '1', { priority: 11 })));
      await left(publish.one(alice, keyed('k', '1', {}, 'users')));
      store.failOnce('not_stored', () => true);
      await left(publish.one(alice, keyed('k', '1')));
      expect(await right(publish.one(alice, keyed('k', '2')))).to.include({ isDuplicate: false });
    });

    it('makes one entry where the first answer was lost and the producer tries again', async () => {
      for (const fault of ['unanswered', 'lost', 'not_stored'] satisfies readonly Fault[]) {
        const topic = `orders.${fault}`;
        store.failOnce(fault, () => true);
        expect(await left(publish.one(alice, keyed(fault, '1', {}, topic)))).to.include({
          _tag: 'StoreUnavailable',
          outcome: fault === 'not_stored' ? 'not_stored' : 'unknown',
        });
        expect(await right(publish.one(alice, keyed(fault, '1', {}, topic)))).to.include({
          isDuplicate: fault === 'unanswered',
        });
        expect(await payloads(topic), fault).to.deep.equal(['1']);
      }
    });

    describe('among many', () => {
      const tagOf = (result: E.Either<PublishRefusal, Receipt>): string => {
        if (E.isLeft(result)) return result.left._tag;
        return result.right.isDuplicate ? 'duplicate' : 'stored';
      };

      it('is answered for itself, and all are stored in their order', async () => {
        await right(publish.one(alice, keyed('old', '"old"')));
        const items = [
          item('orders', '1'),
          keyed('a', '2'),
          keyed('old', '"old"'),
          keyed('old', '"other"'),
          item('orders', '3'),
          keyed('a', '2'),
          keyed('a', '4'),
          keyed('b', '5'),
          item('users', '6'),
        ];
        const results = await publish.many(alice, items)();
        expect(results.map(tagOf)).to.deep.equal([
          'stored',
          'stored',
          'duplicate',
          'IdempotencyKeyReused',
          'stored',
          'duplicate',
          'IdempotencyKeyReused',
          'stored',
          'Forbidden',
        ]);
        expect(await payloads('orders')).to.deep.equal(['"old"', '1', '2', '3', '5']);
        expect(metrics.received).to.equal(5);
      });

      it('costs one call for each topic', async () => {
        const calls: string[] = [];
        store.fault = ({ operation }) => void calls.push(operation);
        const items = [0, 1, 2, 3, 4, 5].map((i) => keyed(`k${i}`, `${i}`, {}, `orders.t${i % 3}`));
        await publish.many(alice, [...items, item('orders.t0', '6'), item('orders.plain', '7')])();
        expect(calls).to.deep.equal(['appendOnce', 'appendOnce', 'appendOnce', 'append']);
      });

      it('makes one entry of each where the whole is sent again', async () => {
        const items = [keyed('a', '1'), keyed('b', '2', {}, 'orders.b'), keyed('c', '3')];
        store.failOnce('unanswered', ({ stream }) => stream.kind === 'topic' && stream.topic === 'orders');
        expect((await publish.many(alice, items)()).map(tagOf)).to.deep.equal([
          'StoreUnavailable',
          'stored',
          'StoreUnavailable',
        ]);
        expect((await publish.many(alice, items)()).map(tagOf)).to.deep.equal([
          'duplicate',
          'duplicate',
          'duplicate',
        ]);
        expect(await payloads('orders')).to.deep.equal(['1', '3']);
        expect(await payloads('orders.b')).to.deep.equal(['2']);
      });
    });
  });

  describe('a message that is to be synced', () => {
    const synced = (topic: string, payload: string, idempotencyKey?: string): AddressedPublication => ({
      ...item(topic, payload),
      durability: 'fsync',
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });

    it('is refused where the storage has nothing to sync, and is not stored, with a key or without', async () => {
      for (const each of [synced('orders', '1'), synced('orders', '1', 'k')]) {
        expect(await left(publish.one(alice, each))).to.include({
          _tag: 'StoreUnavailable',
          reason: 'not_durable',
          outcome: 'not_stored',
        });
      }
      expect(await stored('orders')).to.deep.equal([]);
      expect(await right(publish.one(alice, { ...item('orders', '2'), idempotencyKey: 'k' }))).to.include({
        isDuplicate: false,
      });
    });

    it('decides for the other messages of its topic in the same bulk, and for no other topic', async () => {
      const results = await publish.many(alice, [
        item('orders.a', '1'),
        synced('orders.a', '2'),
        item('orders.b', '3'),
        item('orders.c', '4'),
        synced('orders.c', '5', 'k'),
      ])();
      expect(results.map(({ _tag }) => _tag)).to.deep.equal(['Left', 'Left', 'Right', 'Left', 'Left']);
      expect(await payloads('orders.a')).to.deep.equal([]);
      expect(await payloads('orders.b')).to.deep.equal(['3']);
      expect(await payloads('orders.c')).to.deep.equal([]);
    });

    it('has no say where it is refused itself', async () => {
      const results = await publish.many(alice, [
        item('orders', '1'),
        { ...item('orders', '2', { priority: 11 }), durability: 'fsync' },
      ])();
      expect(results.map(({ _tag }) => _tag)).to.deep.equal(['Right', 'Left']);
    });
  });
});
