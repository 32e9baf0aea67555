/**
 * What a consumer says of messages that it was given (ack, nack, extend, terminate), and what it is answered. The same
 * fields in frames and in HTTP bodies; exactly one of those with ids must be there.
 */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import type { Settled, Settling } from '../../application/settling.js';
import { assertNever } from '../../domain/assert-never.js';
import { formatMessageId, type MessageId } from '../../domain/message/message-id.js';
import { invalidRequest, type Problem } from '../problem.js';
import { decode } from './decode.js';
import { MessageIdField, MessageIdsField, optional, RedeliveryDelayField } from './fields.js';

/** The type of the frame, and the last part of the path. */
export type SettlingVerb = 'ack' | 'nack' | 'extend' | 'terminate';

interface Ids {
  readonly message_id?: MessageId | undefined;
  readonly message_ids?: readonly MessageId[] | undefined;
  readonly up_to?: MessageId | undefined;
}

type IdsCodec = t.Decoder<unknown, Ids> & { readonly props: t.Props };

/** The fields with ids; where none of them is there, the first is asked for. */
interface IdsFields {
  readonly ofAck: IdsCodec;
  readonly ofOthers: IdsCodec;
}

const one = { message_id: optional(MessageIdField) };
const many = { message_ids: optional(MessageIdsField) };
const upTo = { up_to: optional(MessageIdField) };

export const FRAME_IDS: IdsFields = {
  ofAck: t.type({ ...one, ...many, ...upTo }),
  ofOthers: t.type({ ...one, ...many }),
};
export const BODY_IDS: IdsFields = {
  ofAck: t.type({ ...many, ...upTo }),
  ofOthers: t.type(many),
};

const Delay = t.type({ delay: optional(RedeliveryDelayField) });

export const decodeSettling = (
  verb: SettlingVerb,
  { ofAck, ofOthers }: IdsFields,
  body: unknown,
): E.Either<Problem, Settling> => {
  switch (verb) {
    case 'ack':
      return F.pipe(
        decodeOneOf(ofAck, body),
        E.map((ids) =>
          ids.up_to === undefined
            ? { type: 'Acknowledge', ids: listed(ids) }
            : { type: 'AcknowledgeUpTo', id: ids.up_to },
        ),
      );
    case 'nack':
      return F.pipe(
        E.Do,
        E.apS('ids', decodeOneOf(ofOthers, body)),
        E.bind('wait', () => decode(Delay, body)),
        E.map(({ ids, wait: { delay } }) => ({
          type: 'Reject',
          ids: listed(ids),
          delayMs: delay === undefined ? undefined : delay * 1000,
        })),
      );
    case 'extend':
      return F.pipe(
        decodeOneOf(ofOthers, body),
        E.map((ids) => ({ type: 'Extend', ids: listed(ids) })),
      );
    case 'terminate':
      return F.pipe(
        decodeOneOf(ofOthers, body),
        E.map((ids) => ({ type: 'Terminate', ids: listed(ids) })),
      );
    default:
      return assertNever(verb);
  }
};

const listed = ({ message_id, message_ids = [] }: Ids): readonly MessageId[] =>
  message_id === undefined ? message_ids : [message_id];

const decodeOneOf = (codec: IdsCodec, body: unknown): E.Either<Problem, Ids> =>
  F.pipe(
    decode(codec, body),
    E.flatMap((ids): E.Either<Problem, Ids> => {
      const fields = Object.keys(codec.props);
      const [first, second] = fields.filter((field) => ids[field as keyof Ids] !== undefined);
      if (first === undefined) return E.left(invalidRequest(fields[0] ?? 'body', 'is required'));
      return second === undefined
        ? E.right(ids)
        : E.left(invalidRequest(second, `must not be given together with ${first}`));
    }),
  );

/** What a frame that settles messages is answered with. */
const REPLY_TYPES = {
  Acknowledge: 'acked',
  AcknowledgeUpTo: 'acked',
  Reject: 'nacked',
  Extend: 'extended',
  Terminate: 'terminated',
} as const satisfies Readonly<Record<Settling['type'], string>>;

export const replyTypeOf = ({ type }: Settling): string => REPLY_TYPES[type];

/**
 * The members of the answer. An acknowledgement is what its sender wants, whenever it took effect: there the count
 * includes those of before, so that saying it again is answered the same.
 */
export const settledMembers = (
  { type }: Settling,
  { count, alreadySettled, trimmed, unknown }: Settled,
): Readonly<Record<string, number | readonly string[]>> => ({
  ...(REPLY_TYPES[type] === 'acked'
    ? { acknowledged: count + alreadySettled.length }
    : { [REPLY_TYPES[type]]: count }),
  already_acknowledged: formatted(alreadySettled),
  trimmed: formatted(trimmed),
  unknown: formatted(unknown),
});

const formatted = (ids: readonly MessageId[]): readonly string[] =>
  ids.map(({ topic, offset }) => formatMessageId(topic, offset));
