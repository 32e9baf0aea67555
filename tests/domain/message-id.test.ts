import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { formatMessageId, parseMessageId } from '../../domain/message/message-id.js';
import { offsetAt } from '../../domain/message/offset.js';
import { anyOffset, anyTopicName } from '../support/arbitraries.js';
import { aTopic } from '../support/builders.js';
import { TEST_START } from '../support/manual-clock.js';

describe('A message id', () => {
  it('is the topic and the place in it', () => {
    expect(formatMessageId(aTopic('orders.created'), offsetAt(TEST_START))).to.equal(
      'orders.created:1735689600000-0',
    );
  });

  it('is the same after it was written and read', () => {
    fc.assert(
      fc.property(anyTopicName, anyOffset, (topic, offset) => {
        expect(parseMessageId(formatMessageId(topic, offset))).to.deep.equal(E.right({ topic, offset }));
      }),
    );
  });

  it('is the only spelling of what it means', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z.:$]{0,5}:?[0-9]{0,3}-?[0-9]{0,5}$/), (input) => {
        const parsed = parseMessageId(input);
        if (E.isRight(parsed))
          expect(formatMessageId(parsed.right.topic, parsed.right.offset)).to.equal(input);
      }),
      { numRuns: 1_000 },
    );
  });

  for (const input of [
    '',
    ':',
    'orders',
    '1-0',
    ':1-0',
    'orders:',
    'orders:1',
    'orders:1-1024',
    'or:ders:1-0',
    '$x:1-0',
    'orders.*:1-0',
    ' orders:1-0',
    'orders:1-0 ',
  ]) {
    it(`is not ${JSON.stringify(input)}`, () => {
      expect(parseMessageId(input)).to.deep.equal(E.left({ _tag: 'InvalidMessageId', input }));
    });
  }
});
