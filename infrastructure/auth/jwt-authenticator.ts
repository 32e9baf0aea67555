/**
 * JwtAuthenticator: knows users by tokens that their application has signed (RFC 7519), so that no user has to be
 * registered here. The algorithm is ours to say and never the token's (RFC 8725 §3.1), and a token that never
 * expires is refused, because it could not be taken back.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { function as F, option as O, taskEither as TE } from 'fp-ts';
import { jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose';
import type {
  Authenticator,
  Grants,
  InvalidToken,
  Principal,
} from '../../application/ports/authenticator.js';
import type { Clock } from '../../application/ports/clock.js';
import { INVALID_TOKEN, TOKEN_CHARACTERS_MAX } from './token.js';
import { parseTopicsClaim } from './topics-claim.js';

export interface JwtSettings {
  /** The shared secret of HS256. */
  readonly secret: string;
  /** What `iss` must be. Absent: not checked. */
  readonly issuer?: string;
  /** What `aud` must contain. Absent: not checked. */
  readonly audience?: string;
  /** What a token without a `topics` claim may do. */
  readonly defaultGrants: Grants;
}

/** Clocks of servers differ by a second or two; five are forgiven at both ends of a token's life. */
const CLOCK_TOLERANCE_SECONDS = 5;

const SUBJECT_CHARACTERS_MAX = 256;

/**
 * Control characters would garble logs. A lone surrogate has no UTF-8 form: in a key of the store two such subjects
 * could become one.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u;

export class JwtAuthenticator implements Authenticator {
  private readonly key: KeyObject;
  private readonly options: JWTVerifyOptions;

  constructor(
    private readonly settings: JwtSettings,
    private readonly clock: Clock,
  ) {
    // A key object is imported once; a byte array would be imported again for every token.
    this.key = createSecretKey(settings.secret, 'utf8');
    this.options = {
      algorithms: ['HS256'],
      requiredClaims: ['exp', 'sub'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      ...(settings.issuer === undefined ? {} : { issuer: settings.issuer }),
      ...(settings.audience === undefined ? {} : { audience: settings.audience }),
    };
  }

  /** The principal `jwt:<sub>`, which expires with the token. */
  authenticate(token: string): TE.TaskEither<InvalidToken, Principal> {
    if (token.length > TOKEN_CHARACTERS_MAX) return TE.left(INVALID_TOKEN);
    return F.pipe(
      TE.tryCatch(
        () => jwtVerify(token, this.key, { ...this.options, currentDate: new Date(this.clock.now()) }),
        () => INVALID_TOKEN,
      ),
      TE.flatMapOption(
        ({ payload }) => toPrincipal(payload, this.settings.defaultGrants),
        () => INVALID_TOKEN,
      ),
    );
  }
}

const toPrincipal = (payload: JWTPayload, defaultGrants: Grants): O.Option<Principal> =>
  F.pipe(
    O.Do,
    O.bind('subject', () => parseSubject(payload.sub)),
    O.bind('expiresAt', () => parseExpiry(payload.exp)),
    O.bind('grants', () =>
      payload['topics'] === undefined ? O.some(defaultGrants) : parseTopicsClaim(payload['topics']),
    ),
    O.map(({ subject, expiresAt, grants }) => ({ id: `jwt:${subject}`, grants, expiresAt })),
  );

const parseSubject = (sub: unknown): O.Option<string> =>
  typeof sub === 'string' && sub.length >= 1 && sub.length <= SUBJECT_CHARACTERS_MAX && !UNPRINTABLE.test(sub)
    ? O.some(sub)
    : O.none;

/** Seconds, perhaps with a fraction (RFC 7519 §2), to an instant; none where no instant is that far away. */
const parseExpiry = (exp: number | undefined): O.Option<number> => {
  const expiresAt = Math.floor((exp ?? NaN) * 1000);
  return Number.isSafeInteger(expiresAt) ? O.some(expiresAt) : O.none;
};
