/** Codecs of the single fields that HTTP bodies, queries and frames have in common. */
import { either as E } from 'fp-ts';
import * as t from 'io-ts';
import { parseMessageId, type MessageId } from '../../domain/message/message-id.js';
import { parseOffset, type Offset } from '../../domain/message/offset.js';
import { parseStart, type Start } from '../../domain/subscription/start.js';
import { parseClientId, type ClientId } from '../../domain/subscription/client-id.js';
import { parseTopicName, type TopicName } from '../../domain/topic/topic-name.js';
import { parseTopicPattern, type TopicPattern } from '../../domain/topic/topic-pattern.js';
import type { Guarantee } from '../../domain/delivery/guarantee.js';
import { fromParser } from './from-parser.js';

export const TopicNameField: t.Type<TopicName, string> = fromParser(
  'TopicName',
  parseTopicName,
  ({ why }) => why,
);

export const TopicPatternField: t.Type<TopicPattern, string> = fromParser(
  'TopicPattern',
  parseTopicPattern,
  ({ why }) => why,
);

export const ClientIdField: t.Type<ClientId, string> = fromParser(
  'ClientId',
  parseClientId,
  () => 'must be 1 to 128 letters, digits, _, - or dots',
);

/** A codec whose output is made from a text; only decoding is ever asked of it. */
const textField = <A>(
  name: string,
  parse: (input: string) => E.Either<unknown, A>,
  why: string,
): t.Type<A, unknown> =>
  new t.Type<A, unknown>(
    name,
    (u): u is A => u !== undefined,
    (u, context) => {
      const parsed = typeof u === 'string' ? parse(u) : E.left(undefined);
      return E.isRight(parsed) ? t.success(parsed.right) : t.failure(u, context, why);
    },
    t.identity,
  );

export const MessageIdField: t.Type<MessageId, unknown> = textField(
  'MessageId',
  parseMessageId,
  'must be a message_id as it was delivered',
);

export const OffsetField: t.Type<Offset, unknown> = textField(
  'Offset',
  parseOffset,
  'must be an offset (ms-seq)',
);

export const StartField: t.Type<Start, unknown> = textField(
  'Start',
  parseStart,
  'must be latest, earliest, an offset (ms-seq) or a time (RFC 3339)',
);

/** A Map: in an object, names like `constructor` would be found too. */
const GUARANTEES: ReadonlyMap<string, Guarantee> = new Map([
  ['at_least_once', 'at_least_once'],
  ['at_most_once', 'at_most_once'],
]);

export const GuaranteeField: t.Type<Guarantee, unknown> = textField(
  'Guarantee',
  (input) => E.fromNullable(undefined)(GUARANTEES.get(input)),
  'must be at_least_once or at_most_once',
);

/** A whole number within bounds. */
export const integerField = (min: number, max: number): t.Type<number> =>
  new t.Type<number>(
    'Integer',
    (u): u is number => typeof u === 'number',
    (u, context) =>
      typeof u === 'number' && Number.isInteger(u) && u >= min && u <= max
        ? t.success(u)
        : t.failure(u, context, `must be a whole number from ${min} to ${max}`),
    t.identity,
  );

/** A list with at least one and at most `most` elements. */
export const listField = <A>(element: t.Type<A, unknown>, most: number): t.Type<readonly A[], unknown> => {
  const list = t.readonlyArray(element);
  return new t.ReadonlyArrayType<typeof element, readonly A[], readonly unknown[]>(
    list.name,
    list.is,
    (u, context) =>
      Array.isArray(u) && (u.length === 0 || u.length > most)
        ? t.failure(u, context, `must have 1 to ${most} elements`)
        : list.validate(u, context),
    list.encode,
    element,
  );
};

/** Seconds, as the wire has them, up to `max`. */
export const secondsField = (max: number): t.Type<number> =>
  durationField((seconds) => seconds > 0 && seconds <= max, `must be more than 0 and at most ${max} seconds`);

/** Seconds to wait; none at all is a wait too. */
export const delayField = (max: number): t.Type<number> =>
  durationField((seconds) => seconds >= 0 && seconds <= max, `must be from 0 to ${max} seconds`);

const durationField = (isWithin: (seconds: number) => boolean, why: string): t.Type<number> =>
  new t.Type<number>(
    'Seconds',
    (u): u is number => typeof u === 'number',
    (u, context) => (typeof u === 'number' && isWithin(u) ? t.success(u) : t.failure(u, context, why)),
    t.identity,
  );

/** An optional field may be absent, but not null: null is no value that means "as it was". */
export const optional = <A>(field: t.Type<A, unknown>): t.Type<A | undefined, unknown> =>
  t.union([t.undefined, field]);

const TOPICS_MAX = 1000;
const MESSAGE_IDS_MAX = 1000;
const DAY_SECONDS = 86_400;

/** What a subscription may ask for at once, by frame or by poll. */
export const TopicsField = listField(TopicPatternField, TOPICS_MAX);
export const MessageIdsField = listField(MessageIdField, MESSAGE_IDS_MAX);
export const AckTimeoutField = secondsField(DAY_SECONDS);
export const RedeliveryDelayField = delayField(DAY_SECONDS);
