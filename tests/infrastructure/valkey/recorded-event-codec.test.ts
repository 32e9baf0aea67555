import { expect } from 'chai';
import fc from 'fast-check';
import { CATALOGUE, subscriptionStream, topicStream } from '../../../application/ports/event-store.js';
import { decodeEvent, encodeEvent } from '../../../infrastructure/valkey/recorded-event-codec.js';
import { aMessage, anIdentity, aTopic, everySubscriptionEvent } from '../../support/builders.js';

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

  it('read back as they were written: everything that happens to a subscription', () => {
    for (const event of everySubscriptionEvent()) {
      expect(decodeEvent(journal, encodeEvent(event))).to.deep.equal(event);
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
    const opened = {
      type: 'SubscriptionOpened',
      guarantee: 'at_least_once',
      settings: { ackTimeoutMs: 1, maxInFlight: 2, maxDeliveries: 3 },
    } as const;
    const newer = { ...opened, settings: { ...opened.settings, unheardOf: 1 }, unheardOf: true };
    expect(decodeEvent(journal, { body: JSON.stringify(newer), meta: '' })).to.deep.equal(opened);
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
