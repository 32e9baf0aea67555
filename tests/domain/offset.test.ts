import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import {
  before,
  formatOffset,
  instantOf,
  nextOffset,
  offsetAt,
  parseOffset,
  type Offset,
} from '../../domain/message/offset.js';
import { anyOffset } from '../support/arbitraries.js';
import { TEST_START } from '../support/manual-clock.js';

const anyInstant = fc.integer({ min: 0, max: Math.floor(Number.MAX_SAFE_INTEGER / 1024) - 1 });

describe('An offset', () => {
  it('reads as milliseconds and sequence', () => {
    expect(formatOffset(offsetAt(TEST_START))).to.equal('1735689600000-0');
    expect(formatOffset((offsetAt(TEST_START) + 1023) as Offset)).to.equal('1735689600000-1023');
    expect(formatOffset((offsetAt(TEST_START) + 1024) as Offset)).to.equal('1735689600001-0');
  });

  it('is the same after it was written and read', () => {
    fc.assert(
      fc.property(anyOffset, (offset) => {
        expect(parseOffset(formatOffset(offset))).to.deep.equal(E.right(offset));
      }),
    );
  });

  it('has one spelling only', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9]{0,16}-?[0-9]{0,5}$/), (input) => {
        const parsed = parseOffset(input);
        if (E.isRight(parsed)) expect(formatOffset(parsed.right)).to.equal(input);
      }),
      { numRuns: 1_000 },
    );
  });

  for (const input of [
    '',
    '-',
    '1',
    '1-',
    '-1',
    '01-1',
    '1-01',
    '1-1024',
    '+1-1',
    '1-1-1',
    ' 1-1',
    '1-1\n',
    '1e3-1',
    '99999999999999-0',
    '9999999999999-0',
  ]) {
    it(`is not ${JSON.stringify(input)}`, () => {
      expect(parseOffset(input)).to.deep.equal(E.left({ _tag: 'InvalidOffset', input }));
    });
  }

  it('is higher for every next event, whatever the clock says, and at its instant where the clock has moved on', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat().map((last) => Math.max(last - 1, 0)),
        anyInstant,
        (last, now) => {
          const next = nextOffset(last as Offset, now);
          expect(next).to.be.above(last).and.at.least(offsetAt(now));
          if (now > instantOf(last as Offset)) expect(instantOf(next)).to.equal(now);
        },
      ),
    );
  });

  it('finds by time what was stored at that time or later', () => {
    fc.assert(
      fc.property(anyOffset, anyInstant, (offset, instant) => {
        expect(offset >= offsetAt(instant)).to.equal(instantOf(offset) >= instant);
      }),
    );
  });

  it('belongs to the millisecond that a fraction of one lies in', () => {
    expect(offsetAt(1.9)).to.equal(offsetAt(1));
  });

  it('has a place right before it', () => {
    expect(before({ offset: 2048 as Offset, n: 3 })).to.deep.equal({ offset: 2047, n: 2 });
  });
});
