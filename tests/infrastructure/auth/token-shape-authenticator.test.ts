import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { EVERY_TOPIC } from '../../../domain/topic/topic-pattern.js';
import { ApiKeyAuthenticator, type ApiKey } from '../../../infrastructure/auth/api-key-authenticator.js';
import { JwtAuthenticator } from '../../../infrastructure/auth/jwt-authenticator.js';
import { signDevelopmentToken } from '../../../infrastructure/auth/development-credentials.js';
import { digestOf } from '../../../infrastructure/auth/token.js';
import { TokenShapeAuthenticator } from '../../../infrastructure/auth/token-shape-authenticator.js';
import { describeAuthenticator } from '../../contracts/authenticator.contract.js';
import { FixedClock, NOW } from './fixed-clock.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const GRANTS = { publish: [], subscribe: [EVERY_TOPIC], manage: [] };

const anApiKey = (key: string): ApiKey => ({
  name: 'a',
  sha256: digestOf(key).toString('hex'),
  grants: GRANTS,
});

const withKey = (key: string): TokenShapeAuthenticator =>
  new TokenShapeAuthenticator(
    new ApiKeyAuthenticator([anApiKey(key)]),
    new JwtAuthenticator({ secret: SECRET, defaultGrants: GRANTS }, new FixedClock(NOW)),
  );

describeAuthenticator('TokenShapeAuthenticator with an API key', () => ({
  authenticator: withKey('an-api-key-of-mine'),
  validToken: 'an-api-key-of-mine',
  principalId: 'key:a',
}));

describeAuthenticator('TokenShapeAuthenticator with a JWT', async () => ({
  authenticator: withKey('an-api-key-of-mine'),
  validToken: await signDevelopmentToken(SECRET, NOW),
  principalId: 'jwt:developer',
}));

describeAuthenticator('TokenShapeAuthenticator with an API key that looks like a JWT', () => ({
  authenticator: withKey('an.api-key.of-mine'),
  validToken: 'an.api-key.of-mine',
  principalId: 'key:a',
}));

describe('TokenShapeAuthenticator', () => {
  it('takes no JWT where none is configured', async () => {
    const authenticator = new TokenShapeAuthenticator(
      new ApiKeyAuthenticator([anApiKey('an-api-key-of-mine')]),
    );
    expect(E.isLeft(await authenticator.authenticate(await signDevelopmentToken(SECRET, NOW))())).to.equal(
      true,
    );
    expect(E.isRight(await authenticator.authenticate('an-api-key-of-mine')())).to.equal(true);
  });
});
