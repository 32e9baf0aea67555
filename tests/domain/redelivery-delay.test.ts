import { expect } from 'chai';
import fc from 'fast-check';
import { redeliveryDelayMs } from '../../domain/delivery/redelivery-delay.js';

/** Neither more nor less than the list says. */
const MIDDLE = 0.5;

const anyBackoff = fc.array(fc.nat(3_600_000), { minLength: 1, maxLength: 6 });
const anyJitter = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('The delay before a message is delivered again', () => {
  it('is the one of its attempt, and the last one for every later attempt', () => {
    const delays = [1, 2, 3, 4, 99].map((attempt) =>
      redeliveryDelayMs([1_000, 5_000, 30_000], attempt, MIDDLE),
    );
    expect(delays).to.deep.equal([1_000, 5_000, 30_000, 30_000, 30_000]);
  });

  it('is none where there is no backoff', () => {
    expect([1, 2, 3].map((attempt) => redeliveryDelayMs([], attempt, MIDDLE))).to.deep.equal([0, 0, 0]);
    expect(redeliveryDelayMs([0], 1, 0.9)).to.equal(0);
  });

  it('lies a fifth to either side, as the jitter says', () => {
    expect(redeliveryDelayMs([1_000], 1, 0)).to.equal(800);
    expect(redeliveryDelayMs([1_000], 1, 0.25)).to.equal(900);
    expect(redeliveryDelayMs([1_000], 1, 0.75)).to.equal(1_100);
    expect(redeliveryDelayMs([1_000], 1, 0.999_999)).to.equal(1_200);
  });

  it('is a whole number of milliseconds within a fifth of the list, whatever the jitter', () => {
    fc.assert(
      fc.property(anyBackoff, fc.integer({ min: 1, max: 20 }), anyJitter, (backoffMs, attempt, jitter) => {
        const delayMs = redeliveryDelayMs(backoffMs, attempt, jitter);
        const listedMs = backoffMs[attempt - 1] ?? backoffMs[backoffMs.length - 1] ?? 0;
        expect(Number.isInteger(delayMs)).to.be.true;
        expect(delayMs).to.be.within(Math.round(listedMs * 0.8), Math.round(listedMs * 1.2));
      }),
    );
  });

  it('grows with the jitter', () => {
    fc.assert(
      fc.property(anyBackoff, anyJitter, anyJitter, (backoffMs, one, other) => {
        const [less, more] = one < other ? [one, other] : [other, one];
        expect(redeliveryDelayMs(backoffMs, 1, less)).to.be.at.most(redeliveryDelayMs(backoffMs, 1, more));
      }),
    );
  });
});
