import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { formatOffset, instantOf, type Offset } from '../../domain/message/offset.js';
import { parseStart } from '../../domain/subscription/start.js';
import { anyOffset } from '../support/arbitraries.js';

const after = (offset: number) => E.right({ at: 'offset', after: offset });

describe('Where a subscription starts', () => {
  it('is the latest or the earliest message', () => {
    expect(parseStart('latest')).to.deep.equal(E.right({ at: 'latest' }));
    expect(parseStart('earliest')).to.deep.equal(E.right({ at: 'earliest' }));
  });

  it('is right behind an offset', () => {
    expect(parseStart('5-7')).to.deep.equal(after(5 * 1024 + 7));
    expect(parseStart('0-0')).to.deep.equal(after(0));
  });

  it('is a time, with everything that was published in that very millisecond', () => {
    expect(parseStart('2025-01-01T00:00:00Z')).to.deep.equal(after(1_735_689_600_000 * 1024 - 1));
    expect(parseStart('2025-01-01T00:00:00.250Z')).to.deep.equal(after(1_735_689_600_250 * 1024 - 1));
  });

  it('is the same time in every zone', () => {
    const texts = ['2025-01-01T00:00:00Z', '2025-01-01T01:30:00+01:30', '2024-12-31T19:00:00-05:00'];
    const [utc, ...others] = texts.map(parseStart);
    for (const other of others) expect(other).to.deep.equal(utc);
  });

  for (const input of [
    ...['', 'LATEST', 'first', '5', '5-', '-5', '5-1024', '1735689600000'],
    ...['2025-01-01', '2025-01-01T00:00:00', '2025-01-01 00:00:00Z', '2025-13-01T00:00:00Z'],
    ...['1969-12-31T23:59:59Z', '2025-01-01T00:00:00+0100', ' latest'],
  ]) {
    it(`is not '${input}'`, () => {
      expect(parseStart(input)).to.deep.equal(E.left({ _tag: 'InvalidStart', input }));
    });
  }

  it('is behind any offset that a message id can name', () => {
    fc.assert(
      fc.property(anyOffset, (offset: Offset) => {
        expect(parseStart(formatOffset(offset))).to.deep.equal(after(offset));
      }),
    );
  });

  it('is in front of every message of any instant', () => {
    const anyTime = fc.date({ min: new Date(1), max: new Date('2200-01-01'), noInvalidDate: true });
    fc.assert(
      fc.property(anyTime, (time) => {
        const start = parseStart(time.toISOString());
        if (E.isLeft(start) || start.right.at !== 'offset') throw new Error('not parsed');
        expect(instantOf((start.right.after + 1) as Offset)).to.equal(time.getTime());
        expect(instantOf(start.right.after)).to.equal(time.getTime() - 1);
      }),
    );
  });
});
