import { expect } from 'chai';
import { RandomIdSource } from '../../../infrastructure/system/random-id-source.js';

describe('RandomIdSource', () => {
  const ids = new RandomIdSource();

  it('makes up identifiers of at least 96 bits that need no escaping anywhere', () => {
    for (let i = 0; i < 1_000; i++) expect(ids.next()).to.match(/^[A-Za-z0-9_-]{16,}$/);
  });

  it('never makes up the same one twice', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => ids.next())).size).to.equal(10_000);
  });
});
