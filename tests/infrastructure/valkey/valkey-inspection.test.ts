import { expect } from 'chai';
import { inspect } from '../../../infrastructure/valkey/valkey-inspection.js';

const info = (fields: Readonly<Record<string, string | number>> = {}): string =>
  Object.entries({ maxmemory_policy: 'noeviction', aof_enabled: 1, evicted_keys: 0, ...fields })
    .map(([field, value]) => `${field}:${value}\r\n`)
    .join('');

describe('what INFO says of a Valkey', () => {
  it('is nothing to worry about where it evicts nothing and keeps a log', () => {
    expect(inspect(info(), undefined)).to.deep.equal({ problems: [], logsToDisk: true, evictedKeys: 0 });
  });

  for (const policy of ['allkeys-lru', 'volatile-ttl']) {
    it(`is a problem where the policy is ${policy}`, () => {
      const { problems } = inspect(info({ maxmemory_policy: policy }), undefined);
      expect(problems).to.have.length(1);
      expect(problems[0]).to.include(policy).and.include('noeviction');
    });
  }

  it('is a problem where there is no log, and then there is none to sync', () => {
    const { problems, logsToDisk } = inspect(info({ aof_enabled: 0 }), undefined);
    expect(problems).to.have.length(1);
    expect(problems[0]).to.include('appendonly is off');
    expect(logsToDisk).to.equal(false);
  });

  it('is a problem where it does not say it', () => {
    const { problems, logsToDisk } = inspect('redis_version:7.2.4\r\n', undefined);
    expect(problems.map((problem) => problem.includes('cannot be checked'))).to.deep.equal([true, true]);
    expect(logsToDisk).to.equal(undefined);
  });

  describe('of evicted keys', () => {
    const evicted = (policy: string, before: number | undefined, now: number): boolean =>
      inspect(info({ maxmemory_policy: policy, evicted_keys: now }), before).problems.some((problem) =>
        problem.includes('evicted keys'),
      );

    it('is a problem while the policy would evict more', () => {
      expect(evicted('allkeys-lru', 3, 4)).to.equal(true);
      expect(evicted('noeviction', 3, 4)).to.equal(false);
    });

    it('is none where they were evicted before we were there', () => {
      expect(evicted('allkeys-lru', undefined, 4)).to.equal(false);
      expect(evicted('allkeys-lru', 4, 4)).to.equal(false);
    });
  });
});
