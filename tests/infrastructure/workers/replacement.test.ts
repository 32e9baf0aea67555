import { expect } from 'chai';
import { option as O } from 'fp-ts';
import { FAILURES_MAX, replacementOf, type End } from '../../../infrastructure/workers/replacement.js';

const atOnce: End = { isInOrder: false, servedMs: 0 };
const afterAWhile: End = { isInOrder: false, servedMs: 3_600_000 };

/** How long each of these ends in a row is waited for; `give up` ends the list. */
const delaysOf = (ends: readonly End[]): readonly (number | 'give up')[] => {
  const delays: (number | 'give up')[] = [];
  let failures = 0;
  for (const end of ends) {
    const replacement = replacementOf(end, failures);
    if (O.isNone(replacement)) return [...delays, 'give up'];
    delays.push(replacement.value.delayMs);
    failures = replacement.value.failures;
  }
  return delays;
};

describe('the replacement of a worker', () => {
  it('comes at once for one that has worked for a while, and for one that was asked to end', () => {
    expect(delaysOf([afterAWhile, afterAWhile])).to.deep.equal([0, 0]);
    expect(delaysOf(Array<End>(10).fill({ isInOrder: true, servedMs: 0 }))).to.deep.equal(Array(10).fill(0));
  });

  it('comes later and later for one that ends as soon as it has begun, and then never', () => {
    const delays = delaysOf(Array<End>(FAILURES_MAX + 1).fill(atOnce));
    expect(delays).to.deep.equal([100, 200, 400, 800, 'give up']);
  });

  it('is not given up for failures that are not in a row', () => {
    const ends = [atOnce, atOnce, atOnce, atOnce, afterAWhile, atOnce, atOnce, atOnce, atOnce];
    expect(delaysOf(ends)).to.deep.equal([100, 200, 400, 800, 0, 100, 200, 400, 800]);
  });
});
