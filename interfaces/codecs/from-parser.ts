/** Lifts a parser of the domain into a codec, so that a rule exists once. */
import { either as E } from 'fp-ts';
import * as t from 'io-ts';

export const fromParser = <A extends string, Failure>(
  name: string,
  parse: (input: string) => E.Either<Failure, A>,
  why: (failure: Failure) => string,
): t.Type<A, string> =>
  new t.Type<A, string>(
    name,
    (u): u is A => typeof u === 'string' && E.isRight(parse(u)),
    (u, context) => {
      if (typeof u !== 'string') return t.failure(u, context, 'must be a string');
      const parsed = parse(u);
      return E.isRight(parsed) ? t.success(parsed.right) : t.failure(u, context, why(parsed.left));
    },
    t.identity,
  );
