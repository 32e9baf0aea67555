import { expect } from 'chai';
import { RecentMap } from '../../application/recent-map.js';

const keys = (map: RecentMap<number, number>, upTo: number): number[] =>
  Array.from({ length: upTo }, (_, i) => i).filter((key) => map.peek(key) !== undefined);

describe('RecentMap', () => {
  it('keeps at least half of what it may hold, and never more than that', () => {
    const map = new RecentMap<number, number>(10);
    for (let key = 0; key < 100; key++) {
      map.set(key, key);
      const kept = keys(map, 100);
      expect(kept.length).to.be.at.most(10);
      expect(kept).to.include.members(Array.from({ length: Math.min(5, key + 1) }, (_, i) => key - i));
    }
  });

  it('keeps what is used for longer than what is only looked at', () => {
    const map = new RecentMap<number, number>(10);
    map.set(0, 0);
    map.set(1, 1);
    for (let key = 2; key < 50; key++) {
      map.set(key, key);
      expect(map.use(0)).to.equal(0);
      map.peek(1);
    }
    expect(map.peek(1)).to.be.undefined;
  });

  it('visits everything that it holds', () => {
    const map = new RecentMap<number, number>(10);
    for (let key = 0; key < 8; key++) map.set(key, key);
    const visited: number[] = [];
    map.forEach((value) => visited.push(value));
    expect(visited.sort()).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});
