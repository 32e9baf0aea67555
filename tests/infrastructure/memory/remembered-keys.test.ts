import { expect } from 'chai';
import fc from 'fast-check';
import { RememberedKeys } from '../../../infrastructure/memory/remembered-keys.js';
import { aCursor } from '../../support/builders.js';

const remembered = (expiresAt: number, fingerprint = 'f') => ({ fingerprint, at: aCursor(1), expiresAt });

describe('RememberedKeys', () => {
  it('knows a key until its window is over, whether or not anybody has swept', () => {
    const keys = new RememberedKeys(10);
    keys.remember('a', remembered(100), 0);
    expect(keys.find('a', 99)).to.deep.equal(remembered(100));
    expect(keys.find('a', 100)).to.equal(undefined);
    expect(keys.find('b', 0)).to.equal(undefined);
  });

  it('has room for as many as it may hold', () => {
    const keys = new RememberedKeys(2);
    keys.remember('a', remembered(100), 0);
    expect(keys.hasRoomFor(1)).to.equal(true);
    expect(keys.hasRoomFor(2)).to.equal(false);
    keys.sweep(10, 100);
    expect(keys.hasRoomFor(2)).to.equal(true);
  });

  it('holds no more than twice what is in use while keys come and go, and nothing after a while', () => {
    const keys = new RememberedKeys(100_000);
    // Keys that stay stand in the way of no other.
    for (let i = 0; i < 100; i++) keys.remember(`stays.${i}`, remembered(1_000_000), 0);
    for (let now = 0; now < 20_000; now++) keys.remember(`goes.${now}`, remembered(now + 1_000), now);
    expect(keys.size).to.be.below(2 * 1_100);
    for (let i = 0; i < 10; i++) keys.sweep(1_000, 30_000);
    expect(keys.size).to.equal(100);
  });

  it('answers what a list of everything that was ever remembered would', () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd'),
      windowMs: fc.nat(20),
      laterMs: fc.nat(9),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const keys = new RememberedKeys(100);
        const model = new Map<string, number>();
        let now = 0;
        for (const { key, windowMs, laterMs } of steps) {
          now += laterMs;
          if ((model.get(key) ?? 0) <= now) {
            keys.remember(key, remembered(now + windowMs), now);
            model.set(key, now + windowMs);
          }
          for (const [name, expiresAt] of model) {
            expect(keys.find(name, now)?.expiresAt).to.equal(expiresAt > now ? expiresAt : undefined);
          }
        }
      }),
    );
  });
});
