import { expect } from 'chai';
import { either as E } from 'fp-ts';
import fc from 'fast-check';
import { decodePublication } from '../../../interfaces/codecs/publication.js';

/** A member that the codec passes over, and with which a message is not plain any more. */
const UNKNOWN = { unknown: 1 };

const members = fc.record(
  {
    topic: fc.oneof(
      fc.stringMatching(/^[a-z$]{0,3}(\.[a-z]{0,2}){0,9}$/),
      fc.constantFrom('orders', 'orders.created', 'a'.repeat(65), '', '$dead'),
      fc.jsonValue(),
    ),
    payload: fc.jsonValue(),
    // What a frame has besides, which the codec passes over as well.
    type: fc.constantFrom('publish', 'ack'),
    id: fc.oneof(fc.string(), fc.integer()),
  },
  { requiredKeys: [] },
);

describe('A publication', () => {
  it('is decoded without the codec as with it, where there is nothing but topic and payload, or the frame around them', () => {
    fc.assert(
      fc.property(members, (body) => {
        const text = JSON.stringify(body);
        const plain = decodePublication(JSON.parse(text), text);
        const withCodec = { ...body, ...UNKNOWN };
        expect(plain).to.deep.equal(decodePublication(withCodec, JSON.stringify(withCodec)));
      }),
    );
  });

  it('may come as anything else, which is refused as the codec refuses it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        const text = JSON.stringify(body);
        const decoded = decodePublication(JSON.parse(text), text);
        expect(E.isLeft(decoded)).to.equal(true);
      }),
    );
    expect(decodePublication([], '[]')).to.deep.equal(decodePublication([1], '[1]'));
  });

  it('keeps its payload as it was written, of two the last one', () => {
    const text = '{ "payload":1, "topic":"orders", "payload" : {"n":12345678901234567890 , "n":1.0} }';
    expect(decodePublication(JSON.parse(text), text)).to.deep.equal(
      E.right({ topic: 'orders', publication: { payload: '{"n":12345678901234567890 , "n":1.0}' } }),
    );
  });

  it('with a member that is called like a part of every object is not taken for a plain one', () => {
    const text = '{"topic":"orders","payload":1,"__proto__":{"ttl":1},"ttl":60}';
    expect(decodePublication(JSON.parse(text), text)).to.deep.equal(
      E.right({ topic: 'orders', publication: { payload: '1', ttlSeconds: 60 } }),
    );
  });
});
