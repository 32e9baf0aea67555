import { expect } from 'chai';
import { either as E } from 'fp-ts';
import fc from 'fast-check';
import { decodeIdempotencyKeyHeader } from '../../../interfaces/codecs/idempotency-key.js';

const decoded = (header: string): string | undefined => {
  const key = decodeIdempotencyKeyHeader(header);
  return E.isRight(key) ? key.right : undefined;
};

/** The serialisation of a string, RFC 9651 §4.1.6. */
const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

const visible = (from: number, to: number): fc.Arbitrary<string> =>
  fc.integer({ min: from, max: to }).map((code) => String.fromCharCode(code));

describe('the header Idempotency-Key', () => {
  it('may be absent', () => {
    expect(decodeIdempotencyKeyHeader(undefined)).to.deep.equal(E.right(undefined));
  });

  it('is a quoted string, or the same bare', () => {
    const key = '8e03978e-40d5-43dd-bc93-6894a57f9324';
    expect(decoded(`"${key}"`)).to.equal(key);
    expect(decoded(key)).to.equal(key);
    expect(decoded('order:42/eu')).to.equal('order:42/eu');
  });

  it('gives back any key of visible characters that was quoted as structured fields are', () => {
    const keys = fc.string({ unit: visible(0x21, 0x7e), minLength: 1, maxLength: 255 });
    fc.assert(fc.property(keys, (key) => decoded(quoted(key)) === key));
  });

  it('never answers anything but a key, whatever the header', () => {
    fc.assert(
      fc.property(fc.string({ unit: visible(0x01, 0xff), maxLength: 300 }), (header) => {
        const key = decoded(header);
        return key === undefined || /^[\x21-\x7e]{1,255}$/.test(key);
      }),
    );
  });

  const refused = {
    'an empty header': '',
    'an empty string': '""',
    'a quote that does not end': '"abc',
    'a quote that does not begin': 'abc"',
    'an escape of anything else': String.raw`"a\bc"`,
    'a quote that ends in an escape': String.raw`"abc\"`,
    'a parameter': '"abc";a=1',
    'a bare parameter': 'abc;a=1',
    'two values': '"abc", "def"',
    'two bare values': 'abc, def',
    'two bare values without a space': 'abc,def',
    'a space': '"a b"',
    'text beyond ASCII': '"\u00e9"',
    'more characters than a key has': `"${'k'.repeat(256)}"`,
  };
  for (const [name, header] of Object.entries(refused)) {
    it(`is refused with ${name}`, () => {
      const key = decodeIdempotencyKeyHeader(header);
      expect(E.isLeft(key) && key.left).to.include({ code: 'invalid_request', field: 'Idempotency-Key' });
    });
  }
});
