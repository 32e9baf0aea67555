/**
 * A section of the configuration: its keys, their defaults and their names in the code, in one table. A key that is
 * not in the table is refused, because a mistyped key that is ignored is found out in production.
 */
import { either as E } from 'fp-ts';
import * as t from 'io-ts';
import { didYouMean } from './did-you-mean.js';
import { decoderOf, type Leaf, refined, type Complaint } from './setting.js';

export type Setting<A = unknown> = Leaf<A> | Section<A>;

export interface Section<A = unknown> extends t.Decoder<unknown, A> {
  readonly kind: 'section';
  readonly fields: readonly Field[];
}

/** One key. `fallback` is what is decoded in place of an absent value, in the file's own notation. */
export interface Field<A = unknown> {
  readonly key: string;
  readonly setting: Setting<A>;
  readonly fallback: unknown;
  readonly isRequired: boolean;
}

/** A key that has `fallback` when it is not given. */
export const withDefault = <A>(key: string, setting: Setting<A>, fallback: unknown): Field<A> => ({
  key,
  setting,
  fallback,
  isRequired: true,
});

/** A key that may be absent, and then has no value. */
export const optional = <A>(key: string, setting: Setting<A>): Field<A | undefined> => ({
  key,
  setting,
  fallback: undefined,
  isRequired: false,
});

/** A key that must be given. */
export const required = <A>(key: string, setting: Setting<A>): Field<A> => ({
  key,
  setting,
  fallback: undefined,
  isRequired: true,
});

/** A section with one field for each property of its type, by the property's name. */
export const section = <A>(name: string, table: { readonly [K in keyof A]-?: Field<A[K]> }): Section<A> => {
  const entries = Object.entries<Field>(table);
  const known = entries.map(([, field]) => field.key);
  return {
    kind: 'section',
    fields: entries.map(([, field]) => field),
    ...decoderOf(name, (input, context) => {
      // A key with nothing below it is YAML's null; the section is there and has every default.
      const given = input ?? {};
      if (!isMapping(given)) return t.failure(input, context, 'must be a mapping of keys to values');
      const errors = unknownKeys(given, known, context);
      const decoded: [string, unknown][] = [];
      for (const [property, field] of entries) {
        const result = decodeField(field, given, context);
        if (E.isLeft(result)) errors.push(...result.left);
        else if (result.right !== undefined) decoded.push([property, result.right]);
      }
      // The table has one decoder for each property of A, by its type, so what they decoded is an A.
      return errors.length === 0 ? E.right(Object.fromEntries(decoded) as A) : E.left(errors);
    }),
  };
};

/** Judges and converts a section as a whole. */
export const refinedSection = <A, B>(
  base: Section<A>,
  check: (value: A) => E.Either<readonly Complaint[], B>,
): Section<B> => ({ kind: 'section', fields: base.fields, ...refined(base, check) });

export const isMapping = (input: unknown): input is Readonly<Record<string, unknown>> =>
  typeof input === 'object' && input !== null && !Array.isArray(input);

const decodeField = (
  field: Field,
  given: Readonly<Record<string, unknown>>,
  context: t.Context,
): t.Validation<unknown> => {
  const here = t.appendContext(context, field.key, field.setting);
  const value = valueOf(field, given);
  if (value !== undefined) return field.setting.validate(value, here);
  return field.isRequired ? t.failure(undefined, here, 'must be given') : E.right(undefined);
};

/** A leaf with nothing after its key is as good as absent; an empty section is still a section that was asked for. */
const valueOf = (field: Field, given: Readonly<Record<string, unknown>>): unknown => {
  const value = Object.hasOwn(given, field.key) ? given[field.key] : undefined;
  if (value === null && field.setting.kind === 'section') return {};
  return value ?? field.fallback;
};

const unknownKeys = (
  given: Readonly<Record<string, unknown>>,
  known: readonly string[],
  context: t.Context,
): t.ValidationError[] =>
  Object.keys(given)
    .filter((key) => !known.includes(key))
    .map((key) => ({ value: undefined, ...unknownKey(key, known, context) }));

/** Names of keys are printed only where they look like one: a secret that slipped to the left of a colon does not. */
const KEY_LIKE = /^[A-Za-z_]{1,40}$/;

const unknownKey = (
  key: string,
  known: readonly string[],
  context: t.Context,
): Pick<t.ValidationError, 'context' | 'message'> =>
  KEY_LIKE.test(key)
    ? {
        context: t.appendContext(context, key, t.unknown),
        message: `is not a known key${didYouMean(key, known)}`,
      }
    : { context, message: `has an unknown key; known are ${known.join(', ')}` };

/** Every key below a section, sections themselves included, as paths in the file. */
export const pathsOf = (
  root: Section,
): readonly { readonly path: readonly string[]; readonly setting: Setting }[] =>
  root.fields.flatMap(({ key, setting }) => [
    { path: [key], setting },
    ...(setting.kind === 'section'
      ? pathsOf(setting).map((below) => ({ ...below, path: [key, ...below.path] }))
      : []),
  ]);
