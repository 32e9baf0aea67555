/**
 * What may be written of the fields of a log line. Callers promise to pass no token and no payload; this keeps the
 * promise for them where a library's error has one inside. Everything is bounded, so that no line can be endless.
 */

const HIDDEN = '[hidden]';

/** Names of secrets, alone or at the end of a longer name: `jwt_secret`, `accessToken`, `api_key`. */
const HIDDEN_NAME = /(?:token|authorization|password|secret|payload|api_?key)$|^key$/i;

/** Tokens travel in URLs too. */
const TOKEN_IN_TEXT = /\btoken=[^&\s"']+/gi;

const TEXT_CHARACTERS_MAX = 2_000;
const LIST_ITEMS_MAX = 20;
const FIELDS_MAX = 50;
const DEPTH_MAX = 5;

/** Plain JSON values, with secrets hidden and errors reduced to what they say. Total: never throws. */
export const toLogFields = (
  fields: Readonly<Record<string, unknown>>,
  withStacks: boolean,
): Readonly<Record<string, unknown>> => {
  try {
    return toPlainObject(fields, withStacks, 0);
  } catch {
    // A getter that throws is the only way here. The line itself must still be written.
    return { fields: '[unreadable]' };
  }
};

const toPlain = (value: unknown, withStacks: boolean, depth: number): unknown => {
  switch (typeof value) {
    case 'string':
      return toText(value);
    case 'bigint':
    case 'symbol':
      return String(value);
    case 'function':
      return undefined;
    case 'object':
      return value === null ? null : toPlainDeep(value, withStacks, depth);
    default:
      return value;
  }
};

const toPlainDeep = (value: object, withStacks: boolean, depth: number): unknown => {
  if (depth >= DEPTH_MAX) return '[deeper]';
  if (value instanceof Error) return toPlainError(value, withStacks, depth);
  if (value instanceof Date) return value.toJSON();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) {
    return value.slice(0, LIST_ITEMS_MAX).map((item) => toPlain(item, withStacks, depth + 1));
  }
  return toPlainObject(value as Readonly<Record<string, unknown>>, withStacks, depth);
};

/** Only these: libraries hang whole commands, requests and replies on their errors. */
const toPlainError = (error: Error, withStacks: boolean, depth: number): unknown => ({
  type: error.name,
  message: toText(error.message),
  ...('code' in error ? { code: toPlain(error.code, withStacks, depth + 1) } : {}),
  ...(error.cause === undefined ? {} : { cause: toPlain(error.cause, withStacks, depth + 1) }),
  ...(withStacks && error.stack !== undefined ? { stack: toText(error.stack) } : {}),
});

const toPlainObject = (
  fields: Readonly<Record<string, unknown>>,
  withStacks: boolean,
  depth: number,
): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(fields)
      .slice(0, FIELDS_MAX)
      .map(([name, value]) => [
        name,
        HIDDEN_NAME.test(name) ? HIDDEN : toPlain(value, withStacks, depth + 1),
      ]),
  );

const toText = (text: string): string =>
  text.slice(0, TEXT_CHARACTERS_MAX).replace(TOKEN_IN_TEXT, `token=${HIDDEN}`);
