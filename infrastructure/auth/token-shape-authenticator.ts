/**
 * TokenShapeAuthenticator: one door for both kinds of token, since clients send them the same way. What has the shape
 * of a JWT is tried as one first; an API key may have that shape by chance, so it gets its turn too.
 */
import { function as F, taskEither as TE } from 'fp-ts';
import type { Authenticator, InvalidToken, Principal } from '../../application/ports/authenticator.js';

/** Three parts of base64url (RFC 7515 §7.1). The signature is left to be empty: that is refused where it is checked. */
const JWT_SHAPE = /^[\w-]+\.[\w-]+\.[\w-]*$/;

export class TokenShapeAuthenticator implements Authenticator {
  /** Without `jwt`, every token is an API key. */
  constructor(
    private readonly apiKeys: Authenticator,
    private readonly jwt?: Authenticator,
  ) {}

  authenticate(token: string): TE.TaskEither<InvalidToken, Principal> {
    if (this.jwt === undefined || !JWT_SHAPE.test(token)) return this.apiKeys.authenticate(token);
    return F.pipe(
      this.jwt.authenticate(token),
      TE.orElse(() => this.apiKeys.authenticate(token)),
    );
  }
}
