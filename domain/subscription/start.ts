/** Where a new subscription begins in a topic: `latest`, `earliest`, an offset (`ms-seq`) or a time (RFC 3339). */
import { either as E } from 'fp-ts';
import { NO_OFFSET, offsetAt, parseOffset, type Offset } from '../message/offset.js';

export type Start =
  | { readonly at: 'latest' }
  | { readonly at: 'earliest' }
  /** Right behind this offset. */
  | { readonly at: 'offset'; readonly after: Offset };

export interface InvalidStart {
  readonly _tag: 'InvalidStart';
  readonly input: string;
}

export const LATEST: Start = { at: 'latest' };

/** RFC 3339, with a zone: without one the same text would mean another time on another machine. */
const TIME_PATTERN = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;

export const parseStart = (input: string): E.Either<InvalidStart, Start> => {
  if (input === 'latest' || input === 'earliest') return E.right({ at: input });
  const offset = parseOffset(input);
  if (E.isRight(offset)) return E.right({ at: 'offset', after: offset.right });
  const instant = TIME_PATTERN.test(input) ? Date.parse(input) : NaN;
  // What was published at that very instant is included, hence one below its first offset.
  return Number.isNaN(instant) || instant < 0
    ? E.left({ _tag: 'InvalidStart', input })
    : E.right({ at: 'offset', after: Math.max(NO_OFFSET, offsetAt(instant) - 1) as Offset });
};
