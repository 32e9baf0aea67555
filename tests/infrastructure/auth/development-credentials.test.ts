import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { ApiKeyAuthenticator } from '../../../infrastructure/auth/api-key-authenticator.js';
import {
  makeDevelopmentCredentials,
  renderDevelopmentCredentials,
} from '../../../infrastructure/auth/development-credentials.js';
import { JwtAuthenticator } from '../../../infrastructure/auth/jwt-authenticator.js';
import { FixedClock, NOW } from './fixed-clock.js';

describe('development credentials', () => {
  const clock = new FixedClock(NOW);

  it('let the key publish everything and the token subscribe to everything', async () => {
    const { apiKey, token, auth } = await makeDevelopmentCredentials(clock);
    expect(await new ApiKeyAuthenticator(auth.apiKeys).authenticate(apiKey)()).to.deep.equal(
      E.right({ id: 'key:dev', grants: { publish: ['>'], subscribe: [], manage: [] } }),
    );
    expect(await new JwtAuthenticator(auth.jwt, clock).authenticate(token)()).to.deep.equal(
      E.right({
        id: 'jwt:developer',
        grants: { publish: [], subscribe: ['>'], manage: [] },
        expiresAt: NOW + 30 * 86_400_000,
      }),
    );
  });

  it('are different at every start', async () => {
    const [one, two] = [await makeDevelopmentCredentials(clock), await makeDevelopmentCredentials(clock)];
    expect(one.apiKey).not.to.equal(two.apiKey);
    expect(one.auth.jwt.secret).not.to.equal(two.auth.jwt.secret);
    expect(E.isLeft(await new JwtAuthenticator(two.auth.jwt, clock).authenticate(one.token)())).to.equal(
      true,
    );
  });

  it('are printed as commands to paste, and said to be for development', async () => {
    const credentials = await makeDevelopmentCredentials(clock);
    const printed = renderDevelopmentCredentials(credentials, 9090);
    expect(printed).to.include('FOR DEVELOPMENT ONLY');
    expect(printed).to.include(
      `curl -X POST http://localhost:9090/api/v1/messages -H "Authorization: Bearer ${credentials.apiKey}"`,
    );
    expect(printed).to.include(`ws://localhost:9090/ws?token=${credentials.token}`);
    expect(printed).to.include('"http://localhost:9090/api/v1/poll?topics=notifications&timeout=30"');
    expect(printed).not.to.include(credentials.auth.jwt.secret);
  });

  it('are printed with a body that is JSON', async () => {
    const printed = renderDevelopmentCredentials(await makeDevelopmentCredentials(clock), 8080);
    const body = /-d '(.*)'/.exec(printed)?.[1] ?? '';
    expect(JSON.parse(body)).to.have.keys('topic', 'payload', 'ttl');
  });
});
