import { generateKeyPairSync } from 'node:crypto';
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { SignJWT, type JWTPayload } from 'jose';
import type { InvalidToken, Principal } from '../../../application/ports/authenticator.js';
import { EVERY_TOPIC } from '../../../domain/topic/topic-pattern.js';
import { JwtAuthenticator, type JwtSettings } from '../../../infrastructure/auth/jwt-authenticator.js';
import { describeAuthenticator } from '../../contracts/authenticator.contract.js';
import { FixedClock, NOW } from './fixed-clock.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const NOW_SECONDS = NOW / 1000;
const DEFAULT_GRANTS = { publish: [], subscribe: [EVERY_TOPIC], manage: [] };

const claims = (overrides: JWTPayload = {}): JWTPayload => ({
  sub: 'alice',
  exp: NOW_SECONDS + 60,
  ...overrides,
});

const signed = (payload: JWTPayload, { alg = 'HS256', secret = SECRET } = {}): Promise<string> =>
  new SignJWT(payload).setProtectedHeader({ alg }).sign(Buffer.from(secret));

const authenticator = (settings: Partial<JwtSettings> = {}): JwtAuthenticator =>
  new JwtAuthenticator({ secret: SECRET, defaultGrants: DEFAULT_GRANTS, ...settings }, new FixedClock(NOW));

const authenticate = (
  token: string,
  settings: Partial<JwtSettings> = {},
): Promise<E.Either<InvalidToken, Principal>> => authenticator(settings).authenticate(token)();

const expectRefused = async (token: string, settings: Partial<JwtSettings> = {}): Promise<void> => {
  expect(await authenticate(token, settings)).to.deep.equal(E.left({ _tag: 'InvalidToken' }));
};

const unsigned = (header: object, payload: object, signature = ''): string =>
  [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.') +
  `.${signature}`;

describeAuthenticator('JwtAuthenticator', async () => ({
  authenticator: authenticator(),
  validToken: await signed(claims()),
  principalId: 'jwt:alice',
}));

describe('JwtAuthenticator', () => {
  it('answers who it is, what the token grants and until when', async () => {
    const topics = { subscribe: ['orders.*'], publish: ['chat.>'] };
    expect(await authenticate(await signed(claims({ topics })))).to.deep.equal(
      E.right({
        id: 'jwt:alice',
        grants: { subscribe: ['orders.*'], publish: ['chat.>'], manage: [] },
        expiresAt: NOW + 60_000,
      }),
    );
  });

  describe('the topics claim', () => {
    it('leaves the default grants in place where it is absent', async () => {
      const known = await authenticate(await signed(claims()));
      expect(E.isRight(known) && known.right.grants).to.deep.equal(DEFAULT_GRANTS);
    });

    it('grants only what it lists, and never to manage', async () => {
      const known = await authenticate(await signed(claims({ topics: { publish: ['a'], manage: ['>'] } })));
      expect(E.isRight(known) && known.right.grants).to.deep.equal({
        publish: ['a'],
        subscribe: [],
        manage: [],
      });
    });

    const wrong: readonly unknown[] = [
      null,
      'orders',
      ['orders'],
      { subscribe: 'orders' },
      { subscribe: [1] },
      { subscribe: ['a..b'] },
      { subscribe: ['ok', '$internal'] },
      { publish: ['a.>.b'] },
      { publish: null },
    ];
    for (const topics of wrong) {
      it(`makes the token invalid as ${JSON.stringify(topics)}`, async () => {
        await expectRefused(await signed(claims({ topics })));
      });
    }
  });

  describe('the signature', () => {
    it('refuses a token that is not signed', async () => {
      await expectRefused(unsigned({ alg: 'none' }, claims()));
      await expectRefused(unsigned({ alg: 'none' }, claims(), 'AAAA'));
      await expectRefused(unsigned({ alg: 'HS256' }, claims()));
    });

    it('refuses another secret', async () => {
      await expectRefused(await signed(claims(), { secret: 'another-secret-of-thirty-two-bytes!' }));
    });

    it('refuses other algorithms, even with the right secret', async () => {
      const long = SECRET.padEnd(64, '!');
      await expectRefused(await signed(claims(), { alg: 'HS384', secret: long }), { secret: long });
      await expectRefused(await signed(claims(), { alg: 'HS512', secret: long }), { secret: long });
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      await expectRefused(await new SignJWT(claims()).setProtectedHeader({ alg: 'ES256' }).sign(privateKey));
    });

    it('accepts a header that says more than most do', async () => {
      const token = await new SignJWT(claims())
        .setProtectedHeader({ alg: 'HS256', kid: '1' })
        .sign(Buffer.from(SECRET));
      const known = await authenticate(token);
      expect(E.isRight(known) && known.right.id).to.equal('jwt:alice');
    });

    it('refuses what a header demands and nobody here knows', async () => {
      const token = await new SignJWT(claims())
        .setProtectedHeader({ alg: 'HS256', crit: ['odd'], odd: true })
        .sign(Buffer.from(SECRET), { crit: { odd: true } });
      await expectRefused(token);
    });

    it('refuses claims that were changed after signing', async () => {
      const [header, , signature] = (await signed(claims())).split('.');
      const changed = Buffer.from(JSON.stringify(claims({ sub: 'bob' }))).toString('base64url');
      await expectRefused(`${header!}.${changed}.${signature!}`);
    });

    it('refuses a token of more than 8 KiB, however well signed', async () => {
      await expectRefused(await signed(claims({ padding: 'x'.repeat(8192) })));
    });
  });

  describe('time', () => {
    it('refuses a token that never expires', async () => {
      await expectRefused(await signed({ sub: 'alice' }));
    });

    it('refuses an expiry that no clock reaches', async () => {
      await expectRefused(await signed(claims({ exp: 1e300 })));
    });

    it('forgives clocks five seconds, and not six', async () => {
      const endingAt = (exp: number) => signed(claims({ exp }));
      expect(E.isRight(await authenticate(await endingAt(NOW_SECONDS - 4)))).to.equal(true);
      await expectRefused(await endingAt(NOW_SECONDS - 6));
    });

    it('refuses a token before its time', async () => {
      await expectRefused(await signed(claims({ nbf: NOW_SECONDS + 60 })));
    });
  });

  describe('the subject', () => {
    it('refuses a token without one, or with one that is empty, too long or not text', async () => {
      await expectRefused(await signed({ exp: NOW_SECONDS + 60 }));
      for (const sub of ['', 'x'.repeat(257), 42, null, ['alice']]) {
        await expectRefused(await signed(claims({ sub: sub as string })));
      }
    });

    it('refuses control characters and half characters, which could not be told apart in storage', async () => {
      await expectRefused(await signed(claims({ sub: 'alice\n' })));
      await expectRefused(await signed(claims({ sub: 'alice\ud800' })));
    });

    it('may be any other text up to 256 characters', async () => {
      for (const sub of ['x'.repeat(256), 'auth0|5f7c', 'zoë@example.com', '🦊/👥']) {
        const known = await authenticate(await signed(claims({ sub })));
        expect(E.isRight(known) && known.right.id).to.equal(`jwt:${sub}`);
      }
    });
  });

  describe('issuer and audience', () => {
    it('are not asked for unless they are configured', async () => {
      const token = await signed(claims({ iss: 'anybody', aud: 'anything' }));
      expect(E.isRight(await authenticate(token))).to.equal(true);
    });

    it('must be the configured ones', async () => {
      const settings = { issuer: 'me', audience: 'pulsar' };
      const token = (iss: string, aud: string | string[]) => signed(claims({ iss, aud }));
      expect(E.isRight(await authenticate(await token('me', ['other', 'pulsar']), settings))).to.equal(true);
      await expectRefused(await token('you', 'pulsar'), settings);
      await expectRefused(await token('me', 'other'), settings);
      await expectRefused(await signed(claims()), settings);
    });
  });
});
