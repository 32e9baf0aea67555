import { expect } from 'chai';
import fc from 'fast-check';
import { CATALOGUE, subscriptionStream, topicStream } from '../../../application/ports/event-store.js';
import type { Offset } from '../../../domain/message/offset.js';
import type { MessagesDispatched } from '../../../domain/subscription/subscription-events.js';
import { decodeEvent, encodeEvent, textsOf } from '../../../infrastructure/valkey/recorded-event-codec.js';
import { aCursor, aMessage, anIdentity, aTopic, everySubscriptionEvent } from '../../support/builders.js';

const orders = topicStream(aTopic('orders'));
const journal = subscriptionStream(anIdentity());

describe('recorded events', () => {
  it('read back as they were written: messages', () => {
    const anyMessage = fc.record(
      {
        type: fc.constant('MessagePublished' as const),
        payload: fc.json(),
        expiresAt: fc.nat(),
        key: fc.string({ unit: 'binary', minLength: 1 }),
        priority: fc.integer({ min: 0, max: 9 }),
        headers: fc.dictionary(fc.string(), fc.string({ unit: 'binary' }), { noNullPrototype: true }),
      },
      { requiredKeys: ['type', 'payload'] },
    );
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(decodeEvent(orders, encodeEvent(message))).to.deep.equal(message);
      }),
    );
  });

  it('read back as they were written: losses', () => {
    const between = { from: aCursor(1), to: aCursor(5) };
    for (const reason of ['storage_rollback', 'stream_reset'] as const) {
      for (const loss of [
        { type: 'MessagesLost', reason } as const,
        { type: 'MessagesLost', reason, between } as const,
      ]) {
        expect(decodeEvent(orders, encodeEvent(loss))).to.deep.equal(loss);
      }
    }
  });

  it('are taken from the fields of an entry: a message, or a loss with or without its place', () => {
    const texts = (fields: Record<string, string>) => textsOf(orders, (name) => fields[name]);
    expect(texts({ n: '1', payload: '1' })).to.deep.equal({ body: '1', meta: '' });
    expect(texts({ n: '1', payload: '1', meta: '{}' })).to.deep.equal({ body: '1', meta: '{}' });
    expect(texts({ n: '1', foreign: '1' })).to.equal(undefined);
    const lost = { n: '1', lost: 'stream_reset' };
    expect(decodeEvent(orders, texts(lost)!)).to.deep.equal({ type: 'MessagesLost', reason: 'stream_reset' });
    const between = { from: aCursor(1), to: aCursor(5) };
    expect(decodeEvent(orders, texts({ ...lost, meta: JSON.stringify(between) })!)).to.deep.equal({
      type: 'MessagesLost',
      reason: 'stream_reset',
      between,
    });
    for (const spoiled of [
      { lost: 'unheard' },
      { ...lost, meta: 'x' },
      { ...lost, meta: '{"from":{"offset":1,"n":1}}' },
    ]) {
      expect(decodeEvent(orders, texts(spoiled)!), JSON.stringify(spoiled)).to.equal(undefined);
    }
  });

  it('read back as they were written: everything that happens to a subscription', () => {
    for (const event of everySubscriptionEvent()) {
      expect(decodeEvent(journal, encodeEvent(event))).to.deep.equal(event);
    }
  });

  it('have each its own text, however little two deliveries in a row differ', () => {
    const first = {
      type: 'MessagesDispatched',
      topic: aTopic('orders'),
      next: aCursor(2),
      cursors: [aCursor(1), aCursor(2)],
      attempt: 1,
      deadline: 1_000,
    } as const;
    const others: readonly MessagesDispatched[] = [
      { ...first },
      { ...first, topic: aTopic('invoices') },
      { ...first, next: aCursor(3) },
      { ...first, next: { ...first.next, n: 7 } },
      { ...first, cursors: [aCursor(2)] },
      { ...first, attempt: 2 },
      { ...first, deadline: 1_001 },
    ];
    for (const other of others) {
      for (const event of [first, other])
        expect(encodeEvent(event)).to.deep.equal({ body: JSON.stringify(event), meta: '' });
    }
  });

  it('read back as they were written: the catalogue', () => {
    const created = { type: 'TopicCreated', topic: aTopic('a.b') } as const;
    expect(decodeEvent(CATALOGUE, encodeEvent(created))).to.deep.equal(created);
  });

  it('keep the payload as the producer wrote it, and no meta where there is nothing to say', () => {
    const payload = ' {"b":1.10,\n"a":12345678901234567890} ';
    expect(encodeEvent(aMessage({ payload }))).to.deep.equal({ body: payload, meta: '' });
  });

  it('of an older version read as ever, and those of a newer one as far as they are known', () => {
    const decoded = (event: object) => decodeEvent(journal, { body: JSON.stringify(event), meta: '' });
    const settings = { ackTimeoutMs: 1, maxInFlight: 2, maxDeliveries: 3 };
    const opened = { type: 'SubscriptionOpened', guarantee: 'at_least_once', settings } as const;
    const whole = { ...opened, settings: { ...settings, backoffMs: [] } };
    expect(decoded(opened)).to.deep.equal(whole);
    const newer = { ...whole, settings: { ...whole.settings, unheardOf: 1 }, unheardOf: true };
    expect(decoded(newer)).to.deep.equal(whole);
    const expired = { type: 'DeliveryExpired', topic: aTopic(), offsets: [1 as Offset] };
    expect(decoded(expired)).to.deep.equal({ ...expired, notBefore: 0 });
    const message = { body: '1', meta: '{"key":"k","unheardOf":{}}' };
    expect(decodeEvent(orders, message)).to.deep.equal(aMessage({ payload: '1', key: 'k' }));
  });

  it('are none where somebody else wrote the text', () => {
    for (const body of ['', 'x', 'null', '[]', '{}', '{"type":"Unheard"}', '{"type":"TopicsRemoved"}']) {
      expect(decodeEvent(journal, { body, meta: '' }), body).to.equal(undefined);
      expect(decodeEvent(CATALOGUE, { body, meta: '' }), body).to.equal(undefined);
    }
    for (const topic of ['a..b', 'a.*', '', 7, null]) {
      const body = JSON.stringify({ type: 'TopicCreated', topic });
      expect(decodeEvent(CATALOGUE, { body, meta: '' }), body).to.equal(undefined);
    }
    for (const meta of ['x', 'null', '[]', '{"expiresAt":"soon"}', '{"headers":{"a":1}}', '{"key":7}']) {
      expect(decodeEvent(orders, { body: '1', meta }), meta).to.equal(undefined);
    }
  });

  it('do not touch prototypes', () => {
    const meta = '{"__proto__":{"key":"k"},"headers":{"__proto__":"x"}}';
    expect(decodeEvent(orders, { body: '1', meta })).not.to.have.property('key');
    expect(({} as { key?: unknown }).key).to.equal(undefined);
  });
});
