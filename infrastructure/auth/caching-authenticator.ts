/**
 * CachingAuthenticator: remembers whom a token stood for, because a client that polls sends the same token with every
 * request and a signature costs more than the rest of an empty poll.
 * Promises: nobody is remembered beyond `expiresAt`; at most `TOKENS_MAX` are, the least recently used go first; what
 * was refused is asked again, so that guessing tokens pushes nobody out. Tokens themselves are not kept, only digests.
 */
import { function as F, taskEither as TE } from 'fp-ts';
import type { Authenticator, InvalidToken, Principal } from '../../application/ports/authenticator.js';
import type { Clock } from '../../application/ports/clock.js';
import { digestOf, TOKEN_CHARACTERS_MAX } from './token.js';

/** As many as the connections of one process by default; some hundred bytes each. */
const TOKENS_MAX = 10_000;

export class CachingAuthenticator implements Authenticator {
  /** A Map keeps the order of insertion; what is used is inserted anew, so the first is the least recently used. */
  private readonly principals = new Map<string, Principal>();

  constructor(
    private readonly inner: Authenticator,
    private readonly clock: Clock,
    private readonly tokensMax = TOKENS_MAX,
  ) {}

  authenticate(token: string): TE.TaskEither<InvalidToken, Principal> {
    // Too long to be anybody's: not even hashed.
    if (token.length > TOKEN_CHARACTERS_MAX) return this.inner.authenticate(token);
    return () => {
      const digest = digestOf(token).toString('base64');
      const known = this.recall(digest);
      if (known !== undefined) return TE.right(known)();
      return F.pipe(
        this.inner.authenticate(token),
        TE.tapIO((principal) => () => this.remember(digest, principal)),
      )();
    };
  }

  private recall(digest: string): Principal | undefined {
    const principal = this.principals.get(digest);
    if (principal === undefined) return undefined;
    this.principals.delete(digest);
    if (principal.expiresAt !== undefined && this.clock.now() >= principal.expiresAt) return undefined;
    this.principals.set(digest, principal);
    return principal;
  }

  private remember(digest: string, principal: Principal): void {
    this.principals.delete(digest);
    this.principals.set(digest, principal);
    if (this.principals.size <= this.tokensMax) return;
    for (const oldest of this.principals.keys()) {
      this.principals.delete(oldest);
      return;
    }
  }
}
