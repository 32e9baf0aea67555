/**
 * The name that a producer gives a message so that it is stored once: the field `idempotency_key` of a body, an item of
 * a bulk or a frame, and for a body also the header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07).
 */
import { either as E } from 'fp-ts';
import * as t from 'io-ts';
import type { AddressedPublication } from '../../application/publish-messages.js';
import { invalidRequest, type Problem } from '../problem.js';

/** Room for any UUID and for names of the producer's own, and short enough to be remembered by the million. */
const KEY_CHARACTERS_MAX = 255;
const KEY_PATTERN = /^[\x21-\x7e]+$/;
const HEADER = 'Idempotency-Key';

const isKey = (text: string): boolean => text.length <= KEY_CHARACTERS_MAX && KEY_PATTERN.test(text);

const WHY = `must be 1 to ${KEY_CHARACTERS_MAX} visible ASCII characters`;

export const IdempotencyKeyField = new t.Type<string, string>(
  'IdempotencyKey',
  (u): u is string => typeof u === 'string' && isKey(u),
  (u, context) => (typeof u === 'string' && isKey(u) ? t.success(u) : t.failure(u, context, WHY)),
  t.identity,
);

const HEADER_WHY = `${WHY}, in quotes or without any, and given once`;

/** A string of structured fields (RFC 9651 §3.3.3): in quotes, with a backslash before a quote and a backslash. */
const QUOTED_PATTERN = /^"((?:[^"\\]|\\["\\])*)"$/;
/** Bare, as many clients send it. Commas and semicolons stand between values and parameters, which there are none of. */
const BARE_PATTERN = /^[^",;\\]+$/;

/** `header` is what the request says, undefined where it says nothing. Sent twice, it is no key any more. */
export const decodeIdempotencyKeyHeader = (
  header: string | undefined,
): E.Either<Problem, string | undefined> => {
  if (header === undefined) return E.right(undefined);
  const quoted = QUOTED_PATTERN.exec(header)?.[1];
  const key = quoted === undefined ? BARE_PATTERN.exec(header)?.[0] : quoted.replace(/\\(.)/g, '$1');
  return key !== undefined && isKey(key) ? E.right(key) : E.left(invalidRequest(HEADER, HEADER_WHY));
};

/** The key may be in either place, or in both where both say the same. */
export const withHeaderKey = (
  item: AddressedPublication,
  headerKey: string | undefined,
): E.Either<Problem, AddressedPublication> => {
  if (headerKey === undefined) return E.right(item);
  return item.idempotencyKey === undefined || item.idempotencyKey === headerKey
    ? E.right({ ...item, idempotencyKey: headerKey })
    : E.left(invalidRequest(HEADER, 'must be the same as idempotency_key in the body'));
};

/** Many messages cannot have one name. */
export const refuseHeaderKey = (header: string | undefined): E.Either<Problem, undefined> =>
  header === undefined
    ? E.right(undefined)
    : E.left(invalidRequest(HEADER, 'names one message; in a bulk give each its own idempotency_key'));
