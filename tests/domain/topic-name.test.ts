import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { parseTopicName } from '../../domain/topic/topic-name.js';
import { parseTopicPattern } from '../../domain/topic/topic-pattern.js';
import { anyTopicName } from '../support/arbitraries.js';

const why = (input: string): string | undefined => {
  const parsed = parseTopicName(input);
  return E.isLeft(parsed) ? parsed.left.why : undefined;
};

describe('A topic name', () => {
  for (const name of [
    'a',
    'orders',
    'orders.created',
    'A-b_9.0',
    'a.b.c.d.e.f.g.h',
    'x'.repeat(64),
    '-',
    '__proto__',
  ]) {
    it(`may be ${name}`, () => {
      expect(parseTopicName(name)).to.deep.equal(E.right(name));
    });
  }

  it('says why it may not be', () => {
    expect(why('')).to.equal('must not be empty');
    expect(why('$system')).to.equal('names that start with $ are reserved');
    expect(why('a.b.c.d.e.f.g.h.i')).to.equal('must not have more than 8 segments');
    expect(why(['x'.repeat(64), 'y'.repeat(64), 'z'.repeat(64), 'w'.repeat(61)].join('.'))).to.equal(
      'must not be longer than 255 bytes',
    );
  });

  it('may have 255 bytes', () => {
    expect(why(['x'.repeat(64), 'y'.repeat(64), 'z'.repeat(64), 'w'.repeat(60)].join('.'))).to.equal(
      undefined,
    );
  });

  for (const name of [
    '.',
    'a.',
    '.a',
    'a..b',
    'a b',
    'a:b',
    'a/b',
    'a*',
    '*',
    '>',
    'a.>',
    'é',
    'a\n',
    'a\u0000',
    '{a}',
    'a.$b',
    'x'.repeat(65),
  ]) {
    it(`may not be ${JSON.stringify(name)}`, () => {
      expect(why(name)).to.equal('must be segments of 1 to 64 letters, digits, _ or - separated by dots');
    });
  }

  it('never has a character that means something in a key, a pattern or a message id', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (input) => {
        if (E.isRight(parseTopicName(input))) expect(input).to.match(/^[A-Za-z0-9_.-]+$/);
      }),
    );
  });

  it('is always a pattern too', () => {
    fc.assert(
      fc.property(anyTopicName, (name) => {
        expect(parseTopicPattern(name)).to.deep.equal(E.right(name));
      }),
    );
  });
});
