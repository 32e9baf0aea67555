/**
 * The kinds of value that a configuration has, as io-ts decoders. They only decode: nothing ever writes a
 * configuration. No message repeats the value that it complains about, because the value may be a secret.
 */
import { either as E, function as F, readonlyArray as RA } from 'fp-ts';
import * as t from 'io-ts';
import type { Milliseconds } from '../../domain/time.js';
import { parseDuration, parseSize, toDurationText, toSizeText } from './durations-and-sizes.js';

/** A single value or a list. `text` is taken from an environment variable as it is, `yaml` is parsed first. */
export interface Leaf<A> extends t.Decoder<unknown, A> {
  readonly kind: 'text' | 'yaml';
}

/** What is wrong with a value that can only be judged as a whole, and at which of its keys. */
export interface Complaint {
  readonly at?: string;
  readonly message: string;
}

/** An io-ts decoder from its `validate` function. */
export const decoderOf = <A>(name: string, validate: t.Validate<unknown, A>): t.Decoder<unknown, A> => {
  const decoder: t.Decoder<unknown, A> = {
    name,
    validate,
    decode: (input) => validate(input, [{ key: '', type: decoder, actual: input }]),
  };
  return decoder;
};

/** Judges and converts what `base` has decoded. */
export const refined = <A, B>(
  base: t.Decoder<unknown, A>,
  check: (value: A) => E.Either<readonly Complaint[], B>,
): t.Decoder<unknown, B> =>
  decoderOf(base.name, (input, context) =>
    F.pipe(
      base.validate(input, context),
      E.flatMap((value) =>
        F.pipe(
          check(value),
          E.mapLeft((complaints) => complaints.map((complaint) => toError(complaint, base, input, context))),
        ),
      ),
    ),
  );

const toError = (
  { at, message }: Complaint,
  base: t.Decoder<unknown, unknown>,
  value: unknown,
  context: t.Context,
): t.ValidationError => ({
  value,
  context: at === undefined ? context : t.appendContext(context, at, base),
  message,
});

const leaf = <A>(
  kind: Leaf<A>['kind'],
  name: string,
  parse: (input: unknown) => E.Either<string, A>,
): Leaf<A> => ({
  kind,
  ...decoderOf(name, (value, context) =>
    F.pipe(
      parse(value),
      E.mapLeft((message): t.Errors => [{ value, context, message }]),
    ),
  ),
});

/** Text for which `isAllowed` holds. `requirement` completes the sentence "… must be". */
export const text = (
  requirement = 'text',
  isAllowed: (input: string) => boolean = () => true,
): Leaf<string> =>
  leaf('text', 'text', (input) => {
    if (typeof input !== 'string') return E.left('must be text; put it in quotes');
    return isAllowed(input) ? E.right(input) : E.left(`must be ${requirement}`);
  });

/** Text that a domain parser turns into its own type. */
export const parsedText = <A>(
  name: string,
  parse: (input: string) => E.Either<{ readonly why: string }, A>,
): Leaf<A> =>
  leaf('text', name, (input) =>
    typeof input === 'string'
      ? F.pipe(
          parse(input),
          E.mapLeft(({ why }) => why),
        )
      : E.left('must be text; put it in quotes'),
  );

/** One of a few words. */
export const oneOf = <const Word extends string>(words: readonly Word[]): Leaf<Word> =>
  leaf('text', 'word', (input) => {
    const word = words.find((each) => each === input);
    return word === undefined ? E.left(`must be one of ${words.join(', ')}`) : E.right(word);
  });

/** A whole number from `min` to `max`, both included. */
export const whole = (min: number, max: number): Leaf<number> =>
  leaf('yaml', 'whole number', (input) =>
    typeof input === 'number' && Number.isInteger(input) && input >= min && input <= max
      ? E.right(input)
      : E.left(`must be a whole number from ${min} to ${max}`),
  );

/** A whole number from `min` to `max`, or the word that stands for one. */
export const wholeOr = <const Word extends string>(
  word: Word,
  min: number,
  max: number,
): Leaf<number | Word> => {
  const number = whole(min, max);
  return leaf('yaml', number.name, (input): E.Either<string, number | Word> =>
    input === word
      ? E.right(word)
      : F.pipe(
          number.decode(input),
          E.mapLeft(() => `must be ${word} or a whole number from ${min} to ${max}`),
        ),
  );
};

export const flag: Leaf<boolean> = leaf('yaml', 'flag', (input) =>
  typeof input === 'boolean' ? E.right(input) : E.left('must be true or false'),
);

/** A duration from `min` to `max` milliseconds, both included. */
export const duration = (min: Milliseconds, max: Milliseconds): Leaf<Milliseconds> =>
  leaf('yaml', 'duration', F.flow(parseDuration, E.flatMap(between(min, max, toDurationText))));

/** A size from `min` to `max` bytes, both included. */
export const size = (min: number, max: number): Leaf<number> =>
  leaf('yaml', 'size', F.flow(parseSize, E.flatMap(between(min, max, toSizeText))));

const between =
  (min: number, max: number, show: (value: number) => string) =>
  (value: number): E.Either<string, number> =>
    value >= min && value <= max ? E.right(value) : E.left(`must be from ${show(min)} to ${show(max)}`);

/** A list of at most `most` items; every item's complaints are kept, each at its index. */
export const listOf = <A>(item: t.Decoder<unknown, A>, most = Infinity): Leaf<readonly A[]> => ({
  kind: 'yaml',
  ...decoderOf(`list of ${item.name}`, (input, context) => {
    // A key with nothing after it is a list that nobody has filled in.
    if (input === null) return E.right([]);
    if (!Array.isArray(input)) return t.failure(input, context, 'must be a list');
    if (input.length > most) return t.failure(input, context, `must not have more than ${most} items`);
    const decoded = input.map((each: unknown, i) =>
      item.validate(each, t.appendContext(context, `${i}`, item)),
    );
    const { left: errors, right: items } = RA.separate(decoded);
    return errors.length === 0 ? E.right(items) : E.left(errors.flat());
  }),
});
