import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import type { TopicPattern } from '../../../domain/topic/topic-pattern.js';
import { ApiKeyAuthenticator, type ApiKey } from '../../../infrastructure/auth/api-key-authenticator.js';
import { loadConfig } from '../../../infrastructure/config/load-config.js';
import { describeAuthenticator } from '../../contracts/authenticator.contract.js';

const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');

const anApiKey = (name: string, key: string): ApiKey => ({
  name,
  sha256: sha256(key),
  grants: { publish: [`${name}.>` as TopicPattern], subscribe: [], manage: [] },
});

describeAuthenticator('ApiKeyAuthenticator', () => ({
  authenticator: new ApiKeyAuthenticator([
    anApiKey('first', 'key-of-the-first'),
    anApiKey('second', 'key-of-the-second'),
    anApiKey('third', 'key-of-the-third'),
  ]),
  validToken: 'key-of-the-second',
  principalId: 'key:second',
}));

describe('ApiKeyAuthenticator', () => {
  it('grants what the key was given, without an end', async () => {
    const key = anApiKey('orders', 'a-key-for-orders');
    expect(await new ApiKeyAuthenticator([key]).authenticate('a-key-for-orders')()).to.deep.equal(
      E.right({ id: 'key:orders', grants: key.grants }),
    );
  });

  it('knows nobody when there are no keys', async () => {
    expect(E.isLeft(await new ApiKeyAuthenticator([]).authenticate('a-key-for-orders')())).to.equal(true);
  });

  it('does not take the digest of a key for the key', async () => {
    const key = anApiKey('orders', 'a-key-for-orders');
    expect(E.isLeft(await new ApiKeyAuthenticator([key]).authenticate(key.sha256)())).to.equal(true);
  });

  for (const form of ['key: a-key-for-orders', `hash: "sha256:${sha256('a-key-for-orders')}"`]) {
    it(`knows a key that is configured as ${form.split(':')[0]!}`, async () => {
      const config = loadConfig({ text: `auth: {api_keys: [{name: orders, ${form}}]}`, env: {} });
      const keys = E.isRight(config) ? (config.right.auth?.apiKeys ?? []) : [];
      const known = await new ApiKeyAuthenticator(keys).authenticate('a-key-for-orders')();
      expect(E.isRight(known) && known.right.id).to.equal('key:orders');
    });
  }
});
