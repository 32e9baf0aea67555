/**
 * ApiKeyAuthenticator: knows backends by their keys, of which it only holds digests.
 * Every key is compared, in constant time and to the end of the list, so that how long an answer takes tells neither
 * how much of a key was right nor whose it was.
 */
import { timingSafeEqual } from 'node:crypto';
import { taskEither as TE } from 'fp-ts';
import type {
  Authenticator,
  Grants,
  InvalidToken,
  Principal,
} from '../../application/ports/authenticator.js';
import { digestOf, INVALID_TOKEN, TOKEN_CHARACTERS_MAX } from './token.js';

export interface ApiKey {
  readonly name: string;
  /** SHA-256 of the key, in hexadecimal digits. */
  readonly sha256: string;
  readonly grants: Grants;
}

interface KnownKey {
  readonly digest: Buffer;
  readonly principal: Principal;
}

export class ApiKeyAuthenticator implements Authenticator {
  private readonly known: readonly KnownKey[];

  constructor(keys: readonly ApiKey[]) {
    this.known = keys.map(({ name, sha256, grants }) => ({
      digest: Buffer.from(sha256, 'hex'),
      principal: { id: `key:${name}`, grants },
    }));
  }

  /** The principal `key:<name>`, which does not expire. */
  authenticate(token: string): TE.TaskEither<InvalidToken, Principal> {
    const principal = token.length <= TOKEN_CHARACTERS_MAX ? this.find(digestOf(token)) : undefined;
    return principal === undefined ? TE.left(INVALID_TOKEN) : TE.right(principal);
  }

  private find(presented: Buffer): Principal | undefined {
    let found: Principal | undefined;
    for (const { digest, principal } of this.known) {
      if (timingSafeEqual(digest, presented)) found = principal;
    }
    return found;
  }
}
