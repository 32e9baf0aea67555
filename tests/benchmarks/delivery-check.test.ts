/** The benchmark vouches that nothing was lost, doubled or out of order; so its own check must be able to tell. */
import { expect } from 'chai';
import * as fc from 'fast-check';
import { DeliveryCheck } from '../../benchmarks/generator/delivery-check.js';

const FAULTLESS = { lost: 0, duplicated: 0, reordered: 0 };

describe('the check of deliveries in a benchmark', () => {
  const received = (...sequences: readonly number[]): DeliveryCheck => {
    const check = new DeliveryCheck({ subscribers: 1, topics: 1, lanes: 1 });
    for (const sequence of sequences) check.onDelivery(0, sequence);
    return check;
  };

  it('finds no fault in what arrives once and in the order of each producer', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 50 }), (producers) => {
        const check = new DeliveryCheck({ subscribers: 2, topics: 1, lanes: 4 });
        const sent = [0, 0, 0, 0];
        for (const producer of producers) {
          const sequence = sent[producer]!++ * 4 + producer;
          check.onDelivery(0, sequence);
          check.onDelivery(1, sequence);
        }
        expect(check.finish((_, lane) => sent[lane]!)).to.deep.equal(FAULTLESS);
      }),
    );
  });

  it('counts what is skipped, and what is missing at the end, as lost', () => {
    expect(received(0, 2, 3).finish(() => 5)).to.deep.equal({ lost: 2, duplicated: 0, reordered: 0 });
  });

  it('counts what comes again as duplicated', () => {
    expect(received(0, 1, 1, 0).finish(() => 2)).to.deep.equal({ lost: 0, duplicated: 2, reordered: 0 });
  });

  it('counts what comes late as reordered and not as lost', () => {
    expect(received(0, 2, 1, 3).finish(() => 4)).to.deep.equal({ lost: 0, duplicated: 0, reordered: 1 });
  });

  it('counts a subscriber that has seen another order than the first one of its topic', () => {
    const check = new DeliveryCheck({ subscribers: 2, topics: 1, lanes: 2 });
    for (const sequence of [0, 1]) check.onDelivery(0, sequence);
    for (const sequence of [1, 0]) check.onDelivery(1, sequence);
    expect(check.finish(() => 1)).to.deep.equal({ lost: 0, duplicated: 0, reordered: 1 });
  });

  it('expects of each subscriber what was published to its own topic', () => {
    const check = new DeliveryCheck({ subscribers: 2, topics: 2, lanes: 1 });
    for (const sequence of [0, 1]) check.onDelivery(1, sequence);
    expect(check.finish((topic) => [0, 2][topic]!)).to.deep.equal(FAULTLESS);
    expect(check.finish((topic) => [1, 5][topic]!)).to.deep.equal({ lost: 4, duplicated: 0, reordered: 0 });
  });
});
