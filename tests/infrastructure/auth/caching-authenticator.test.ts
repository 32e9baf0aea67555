import { expect } from 'chai';
import type { taskEither as TE } from 'fp-ts';
import { either as E } from 'fp-ts';
import type { Authenticator, Principal } from '../../../application/ports/authenticator.js';
import { CachingAuthenticator } from '../../../infrastructure/auth/caching-authenticator.js';
import { INVALID_TOKEN } from '../../../infrastructure/auth/token.js';
import { describeAuthenticator } from '../../contracts/authenticator.contract.js';
import { FixedClock, NOW } from './fixed-clock.js';

const MINUTE_MS = 60_000;
const NO_GRANTS = { publish: [], subscribe: [], manage: [] };

/** Knows the tokens that start with `good`, and what it was asked. */
class AskedAuthenticator implements Authenticator {
  readonly asked: string[] = [];

  constructor(private readonly expiresAt?: number) {}

  authenticate(token: string): TE.TaskEither<typeof INVALID_TOKEN, Principal> {
    return () => {
      this.asked.push(token);
      const expiry = this.expiresAt === undefined ? {} : { expiresAt: this.expiresAt };
      const answer = /^good\d*$/.test(token)
        ? E.right({ id: `key:${token}`, grants: NO_GRANTS, ...expiry })
        : E.left(INVALID_TOKEN);
      return Promise.resolve(answer);
    };
  }
}

describeAuthenticator('CachingAuthenticator', () => ({
  authenticator: new CachingAuthenticator(new AskedAuthenticator(NOW + 1), new FixedClock(NOW)),
  validToken: 'good',
  principalId: 'key:good',
}));

describe('CachingAuthenticator', () => {
  it('asks once for a token that was right', async () => {
    const inner = new AskedAuthenticator();
    const cached = new CachingAuthenticator(inner, new FixedClock(NOW));
    const answers = [await cached.authenticate('good')(), await cached.authenticate('good')()];
    expect(inner.asked).to.deep.equal(['good']);
    expect(answers[1]).to.deep.equal(answers[0]);
  });

  it('asks again for a token that was wrong', async () => {
    const inner = new AskedAuthenticator();
    const cached = new CachingAuthenticator(inner, new FixedClock(NOW));
    await cached.authenticate('bad')();
    await cached.authenticate('bad')();
    expect(inner.asked).to.deep.equal(['bad', 'bad']);
  });

  it('remembers nobody beyond the end of the token', async () => {
    const inner = new AskedAuthenticator(NOW + 1000);
    const clock = new FixedClock(NOW);
    const cached = new CachingAuthenticator(inner, clock);
    await cached.authenticate('good')();
    clock.instant = NOW + 999;
    await cached.authenticate('good')();
    expect(inner.asked).to.have.lengthOf(1);
    clock.instant = NOW + 1000;
    await cached.authenticate('good')();
    expect(inner.asked).to.have.lengthOf(2);
  });

  it('forgets whom it has not seen for the most minutes when it is full', async () => {
    const inner = new AskedAuthenticator();
    const clock = new FixedClock(NOW);
    const cached = new CachingAuthenticator(inner, clock, 2);
    for (const token of ['good1', 'good2', 'good1', 'good3', 'good1', 'good2']) {
      await cached.authenticate(token)();
      clock.instant += MINUTE_MS;
    }
    expect(inner.asked).to.deep.equal(['good1', 'good2', 'good3', 'good2']);
  });

  it('remembers no more than it may within a minute either', async () => {
    const inner = new AskedAuthenticator();
    const cached = new CachingAuthenticator(inner, new FixedClock(NOW), 2);
    for (const token of ['good1', 'good2', 'good3', 'good3', 'good1']) await cached.authenticate(token)();
    expect(inner.asked).to.deep.equal(['good1', 'good2', 'good3', 'good1']);
  });

  it('knows somebody again after minutes, and after the clock was set back', async () => {
    const inner = new AskedAuthenticator();
    const clock = new FixedClock(NOW);
    const cached = new CachingAuthenticator(inner, clock);
    for (const minutes of [0, 1, 100, 99, -100]) {
      clock.instant = NOW + minutes * MINUTE_MS;
      expect(await cached.authenticate('good')()).to.have.nested.property('right.id', 'key:good');
    }
    expect(inner.asked).to.deep.equal(['good']);
  });

  it('knows nobody by a token that another one begins with', async () => {
    const inner = new AskedAuthenticator();
    const cached = new CachingAuthenticator(inner, new FixedClock(NOW));
    await cached.authenticate('good1')();
    await cached.authenticate('good')();
    await cached.authenticate('good12')();
    expect(inner.asked).to.deep.equal(['good1', 'good', 'good12']);
  });

  it('loses nobody to tokens that are guessed', async () => {
    const inner = new AskedAuthenticator();
    const cached = new CachingAuthenticator(inner, new FixedClock(NOW), 2);
    await cached.authenticate('good')();
    for (let i = 0; i < 10; i++) await cached.authenticate(`guess${i}`)();
    await cached.authenticate('good')();
    expect(inner.asked.filter((token) => token === 'good')).to.have.lengthOf(1);
  });
});
