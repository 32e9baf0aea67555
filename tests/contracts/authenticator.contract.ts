/**
 * What every Authenticator promises: a valid token stands for its principal, and whatever is wrong with a token has the
 * same answer, which is a value and never an exception.
 */
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import type { Authenticator } from '../../application/ports/authenticator.js';

export interface AuthenticatorUnderTest {
  readonly authenticator: Authenticator;
  readonly validToken: string;
  /** Whom `validToken` stands for. */
  readonly principalId: string;
}

export const describeAuthenticator = (
  name: string,
  open: () => AuthenticatorUnderTest | Promise<AuthenticatorUnderTest>,
): void => {
  describe(`${name} as an Authenticator`, () => {
    let given: AuthenticatorUnderTest;
    beforeEach(async () => (given = await open()));

    it('knows whom a valid token stands for', async () => {
      const known = await given.authenticator.authenticate(given.validToken)();
      expect(E.isRight(known) && known.right.id).to.equal(given.principalId);
    });

    it('gives the same answer every time and to many at once', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => given.authenticator.authenticate(given.validToken)()),
      );
      for (const answer of answers) expect(answer).to.deep.equal(answers[0]);
    });

    it('gives one answer for whatever is wrong with a token', async () => {
      const { validToken } = given;
      const last = validToken.at(-2) === 'A' ? 'B' : 'A';
      const wrong = [
        '',
        ' ',
        'x',
        '.',
        '..',
        'a.b.c',
        validToken.slice(1),
        validToken.slice(0, -1),
        `${validToken}A`,
        `${validToken}.`,
        ` ${validToken}`,
        `Bearer ${validToken}`,
        `${validToken.slice(0, -2)}${last}${validToken.slice(-1)}`,
        validToken.toUpperCase(),
        '\u0000',
        '\ud800',
        'ключ',
        '__proto__',
        'x'.repeat(1_000_000),
        `${'a'.repeat(500_000)}.${'b'.repeat(500_000)}.c`,
      ];
      for (const token of wrong) {
        const answer = await given.authenticator.authenticate(token)();
        expect(answer, token.slice(0, 50)).to.deep.equal(E.left({ _tag: 'InvalidToken' }));
      }
    });
  });
};
