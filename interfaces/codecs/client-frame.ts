/** The frames that a client may send, one JSON object per WebSocket text message. */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import type { SubscriptionRequest } from '../../application/open-subscription.js';
import type { AddressedPublication } from '../../application/publish-messages.js';
import type { Settling } from '../../application/settling.js';
import { parseMessageId } from '../../domain/message/message-id.js';
import type { ClientId } from '../../domain/subscription/client-id.js';
import { LATEST } from '../../domain/subscription/start.js';
import type { TopicPattern } from '../../domain/topic/topic-pattern.js';
import { invalidRequest, type Problem } from '../problem.js';
import { decode } from './decode.js';
import {
  AckTimeoutField,
  ClientIdField,
  GuaranteeField,
  integerField,
  optional,
  StartField,
  TopicsField,
} from './fields.js';
import { isDeeperThan } from './json-text.js';
import { decodePublication } from './publication.js';
import { decodeSettling, FRAME_IDS } from './settling.js';

export type ClientFrame =
  | {
      readonly type: 'subscribe';
      readonly clientId: ClientId | undefined;
      readonly request: SubscriptionRequest;
    }
  | { readonly type: 'unsubscribe'; readonly topics: readonly TopicPattern[] }
  | { readonly type: 'settle'; readonly settling: Settling }
  | { readonly type: 'publish'; readonly item: AddressedPublication }
  | { readonly type: 'auth'; readonly token: string }
  | { readonly type: 'ping' };

/** What a client called its frame; the reply to it says the same. */
export type FrameId = string | number | undefined;

export interface Decoded {
  readonly id: FrameId;
  readonly frame: E.Either<Problem, ClientFrame>;
}

const IN_FLIGHT_MAX = 100_000;
const FRAME_ID_CHARACTERS_MAX = 128;
export const JSON_DEPTH_MAX = 64;

const SubscribeFrame = t.type({
  topics: TopicsField,
  client_id: optional(ClientIdField),
  delivery: optional(GuaranteeField),
  from: optional(StartField),
  max_in_flight: optional(integerField(1, IN_FLIGHT_MAX)),
  ack_timeout: optional(AckTimeoutField),
});
const UnsubscribeFrame = t.type({ topics: TopicsField });
const AuthFrame = t.type({ token: t.string });

export const decodeClientFrame = (text: string): Decoded => {
  const parsed = parse(text);
  if (E.isLeft(parsed)) return { id: undefined, frame: parsed };
  const body = parsed.right;
  const { id } = body;
  return isFrameId(id)
    ? { id, frame: decodeBody(body, text) }
    : {
        id: undefined,
        frame: E.left(
          invalidRequest(
            'id',
            `must be a number or a string of at most ${FRAME_ID_CHARACTERS_MAX} characters`,
          ),
        ),
      };
};

const parse = (text: string): E.Either<Problem, Readonly<Record<string, unknown>>> => {
  // Shorter text has no room to be that deep and valid.
  if (text.length > 2 * JSON_DEPTH_MAX && isDeeperThan(text, JSON_DEPTH_MAX)) {
    return E.left({
      code: 'invalid_json',
      detail: `The frame is nested deeper than ${JSON_DEPTH_MAX} levels.`,
    });
  }
  try {
    const body = JSON.parse(text) as unknown;
    return typeof body === 'object' && body !== null && !Array.isArray(body)
      ? E.right(body as Record<string, unknown>)
      : E.left(invalidRequest('frame', 'must be a JSON object'));
  } catch {
    return E.left({ code: 'invalid_json', detail: 'The frame is not valid JSON.' });
  }
};

const isFrameId = (id: unknown): id is FrameId =>
  id === undefined ||
  typeof id === 'number' ||
  (typeof id === 'string' && id.length <= FRAME_ID_CHARACTERS_MAX);

const TYPES = 'subscribe, unsubscribe, ack, nack, extend, terminate, publish, auth or ping';

const decodeBody = (
  body: Readonly<Record<string, unknown>>,
  text: string,
): E.Either<Problem, ClientFrame> => {
  switch (body['type']) {
    case 'ack':
      return decodeAck(body);
    case 'nack':
    case 'extend':
    case 'terminate':
      return F.pipe(decodeSettling(body['type'], FRAME_IDS, body), E.map(toSettle));
    case 'subscribe':
      return F.pipe(decode(SubscribeFrame, body), E.map(toSubscribe));
    case 'unsubscribe':
      return F.pipe(
        decode(UnsubscribeFrame, body),
        E.map(({ topics }) => ({ type: 'unsubscribe', topics })),
      );
    case 'publish':
      return F.pipe(
        decodePublication(body, text),
        E.map((item) => ({ type: 'publish', item })),
      );
    case 'auth':
      return F.pipe(
        decode(AuthFrame, body),
        E.map(({ token }) => ({ type: 'auth', token })),
      );
    case 'ping':
      return E.right({ type: 'ping' });
    case undefined:
      return E.left(invalidRequest('type', 'is required'));
    default:
      return E.left(invalidRequest('type', `must be ${TYPES}`));
  }
};

/** HOT PATH, an ack of one message: its id is parsed as the codec would, which is asked only for what is wrong. */
const decodeAck = (body: Readonly<Record<string, unknown>>): E.Either<Problem, ClientFrame> => {
  const { message_id, message_ids, up_to } = body;
  if (typeof message_id === 'string' && message_ids === undefined && up_to === undefined) {
    const id = parseMessageId(message_id);
    if (E.isRight(id)) return E.right(toSettle({ type: 'Acknowledge', ids: [id.right] }));
  }
  return F.pipe(decodeSettling('ack', FRAME_IDS, body), E.map(toSettle));
};

const toSettle = (settling: Settling): ClientFrame => ({ type: 'settle', settling });

const toSubscribe = (frame: t.TypeOf<typeof SubscribeFrame>): ClientFrame => ({
  type: 'subscribe',
  clientId: frame.client_id,
  request: {
    topics: frame.topics,
    start: frame.from ?? LATEST,
    ...(frame.delivery === undefined ? {} : { guarantee: frame.delivery }),
    ...(frame.max_in_flight === undefined ? {} : { maxInFlight: frame.max_in_flight }),
    ...(frame.ack_timeout === undefined ? {} : { ackTimeoutMs: frame.ack_timeout * 1000 }),
  },
});
