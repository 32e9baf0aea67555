/** Decodes what a client sent, or names the first field that is wrong. */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import { invalidRequest, type Problem } from '../problem.js';

export const decode = <A>(codec: t.Decoder<unknown, A>, input: unknown): E.Either<Problem, A> =>
  F.pipe(codec.decode(input), E.mapLeft(toProblem));

const toProblem = (errors: t.Errors): Problem => {
  // Of the branches of a union, the one that says what it wants.
  const error = errors.find(({ message }) => message !== undefined) ?? errors[0];
  if (error === undefined) return invalidRequest('body', 'is not valid');
  const field = pathOf(error.context);
  if (error.message !== undefined) return invalidRequest(field, error.message);
  return invalidRequest(
    field,
    error.value === undefined ? 'is required' : `must be ${expected(error.context)}`,
  );
};

/** `messages[3].topic`; io-ts also lists the branches of unions and intersections, which are no fields. */
const pathOf = (context: t.Context): string => {
  let path = '';
  context.forEach(({ key }, i) => {
    const parent = context[i - 1]?.type;
    const isField = i > 0 && !(parent instanceof t.IntersectionType) && !(parent instanceof t.UnionType);
    if (!isField) return;
    path +=
      parent instanceof t.ArrayType || parent instanceof t.ReadonlyArrayType
        ? `[${key}]`
        : `${path && '.'}${key}`;
  });
  return path === '' ? 'body' : path;
};

const NAMES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  boolean: 'true or false',
  UnknownArray: 'a list',
};

const expected = (context: t.Context): string => {
  const name = context[context.length - 1]?.type.name ?? 'valid';
  if (name.startsWith('Array<') || name.startsWith('ReadonlyArray<')) return 'a list';
  return NAMES[name] ?? (/[{}&|]/.test(name) ? 'an object' : name);
};
