import { expect } from 'chai';
import { either as E } from 'fp-ts';
import fc from 'fast-check';
import {
  parseDuration,
  parseSize,
  toDurationText,
  toSizeText,
} from '../../../infrastructure/config/durations-and-sizes.js';

describe('durations', () => {
  it('reads a number with its unit', () => {
    const read = ['500ms', '30s', '10m', '24h', '7d', '1.5s'].map(parseDuration);
    expect(read).to.deep.equal(
      [500, 30_000, 600_000, 86_400_000, 604_800_000, 1_500].map((ms) => E.right(ms)),
    );
  });

  it('reads 0 without a unit, and no other number', () => {
    expect(parseDuration(0)).to.deep.equal(E.right(0));
    expect(parseDuration(30)).to.deep.equal(E.left('needs a unit, such as 500ms, 30s, 10m, 24h or 7d'));
  });

  it('refuses what is not a duration in whole milliseconds', () => {
    for (const input of [
      '',
      's',
      '30',
      '30 seconds',
      '-1s',
      '30S',
      '0.5ms',
      '1h30m',
      '9e9d',
      true,
      null,
      [],
      {},
    ]) {
      expect(E.isLeft(parseDuration(input)), JSON.stringify(input)).to.equal(true);
    }
    expect(E.isLeft(parseDuration('99999999999999d'))).to.equal(true);
    expect(E.isLeft(parseDuration('1constructor'))).to.equal(true);
  });

  it('writes them so that they read the same', () => {
    fc.assert(
      fc.property(fc.nat(), (ms) => {
        expect(parseDuration(toDurationText(ms))).to.deep.equal(E.right(ms));
      }),
    );
    expect(toDurationText(1_800_000)).to.equal('30m');
  });
});

describe('sizes', () => {
  it('reads bytes, and units as powers of 1024', () => {
    const read = [1_048_576, 0, '64KB', '1MB', '1GB'].map(parseSize);
    expect(read).to.deep.equal([1_048_576, 0, 65_536, 1_048_576, 1_073_741_824].map((size) => E.right(size)));
  });

  it('refuses what is not a size in whole bytes', () => {
    for (const input of ['', 'MB', '12', '1 MB!', '1kb', '-1MB', -1, 1.5, NaN, '0.0001KB', false, null, []]) {
      expect(E.isLeft(parseSize(input)), JSON.stringify(input)).to.equal(true);
    }
  });

  it('writes them in the largest unit that fits', () => {
    expect([1_048_576, 65_536, 1_000].map(toSizeText)).to.deep.equal(['1MB', '64KB', '1000']);
  });
});
