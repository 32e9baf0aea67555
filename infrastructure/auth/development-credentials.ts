/**
 * Credentials for somebody who has just started the service and has configured nothing: made up at every start, so that
 * there is no well-known key to forget in production, and printed with commands that work when they are pasted.
 */
import { randomBytes } from 'node:crypto';
import { SignJWT } from 'jose';
import type { Clock } from '../../application/ports/clock.js';
import type { Instant } from '../../domain/time.js';
import { EVERY_TOPIC } from '../../domain/topic/topic-pattern.js';
import type { ApiKey } from './api-key-authenticator.js';
import type { JwtSettings } from './jwt-authenticator.js';
import { digestOf } from './token.js';

export interface DevelopmentCredentials {
  /** What to publish with. */
  readonly apiKey: string;
  /** What to subscribe with. */
  readonly token: string;
  /** What makes both valid; stands in for the `auth` section. */
  readonly auth: { readonly apiKeys: readonly ApiKey[]; readonly jwt: JwtSettings };
}

const SECRET_BYTES = 32;

/** Longer than anybody tries something out. The secret, and with it the token, is gone with the process anyway. */
const TOKEN_LIFE_SECONDS = 30 * 24 * 3600;

/** A key `dev` that may publish everything, a secret, and a token signed with it. */
export const makeDevelopmentCredentials = async (clock: Clock): Promise<DevelopmentCredentials> => {
  const apiKey = `dev_${randomText()}`;
  const secret = randomText();
  return {
    apiKey,
    token: await signDevelopmentToken(secret, clock.now()),
    auth: {
      apiKeys: [
        {
          name: 'dev',
          sha256: digestOf(apiKey).toString('hex'),
          grants: { publish: [EVERY_TOPIC], subscribe: [], manage: [] },
        },
      ],
      jwt: { secret, defaultGrants: { publish: [], subscribe: [EVERY_TOPIC], manage: [] } },
    },
  };
};

/** A token for the user `developer`, who may subscribe to everything. */
export const signDevelopmentToken = (secret: string, now: Instant): Promise<string> => {
  const nowSeconds = Math.floor(now / 1000);
  return new SignJWT({ topics: { subscribe: [EVERY_TOPIC] } })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject('developer')
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + TOKEN_LIFE_SECONDS)
    .sign(Buffer.from(secret));
};

/** The text to print at start. `httpPort` is the one that is listened at. */
export const renderDevelopmentCredentials = (
  { apiKey, token }: DevelopmentCredentials,
  httpPort: number,
): string => `
No auth section is configured. These credentials are FOR DEVELOPMENT ONLY, and new ones are made up at every start.

  API key  ${apiKey}
  token    ${token}

Send a message:

  curl -X POST http://localhost:${httpPort}/api/v1/messages -H "Authorization: Bearer ${apiKey}" -H "Content-Type: application/json" -d '{"topic": "notifications", "payload": {"user_id": 123, "message": "Hello, World!"}, "ttl": 3600}'

Receive by WebSocket:

  ws://localhost:${httpPort}/ws?token=${token}

Receive by long-polling:

  curl -H "Authorization: Bearer ${token}" "http://localhost:${httpPort}/api/v1/poll?topics=notifications&timeout=30"

`;

const randomText = (): string => randomBytes(SECRET_BYTES).toString('base64url');
