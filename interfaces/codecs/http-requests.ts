/** The queries and bodies of the consumer's side of the HTTP API. */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import { DEFAULT_CLIENT_ID, type PollRequest } from '../../application/poll-messages.js';
import { RecentMap } from '../../application/recent-map.js';
import type { Settling } from '../../application/settling.js';
import type { ClientId } from '../../domain/subscription/client-id.js';
import { LATEST } from '../../domain/subscription/start.js';
import type { Milliseconds } from '../../domain/time.js';
import type { Problem } from '../problem.js';
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
import { BODY_IDS, decodeSettling, type SettlingVerb } from './settling.js';
import { numberOf, textOf } from './query.js';

const POLL_MESSAGES_MAX = 1000;
const POLL_MESSAGES_DEFAULT = 100;
const POLL_TIMEOUT_SECONDS_DEFAULT = 30;

/** Clients poll with the same query again and again; what is longer than this is rare, and decoded each time. */
const KEPT_CHARACTERS_MAX = 512;
const KEPT_MAX = 2_000;

/**
 * `topics=a,b.*&timeout=30&max=100&client_id=&delivery=&from=&ack_timeout=`; a parameter without text is absent.
 * HOT PATH: a query that was decoded lately is answered with the same request.
 */
export const pollQueryDecoder = (
  timeoutMaxMs: Milliseconds,
): ((query: string) => E.Either<Problem, PollRequest>) => {
  const decodePoll = pollDecoder(timeoutMaxMs);
  const kept = new RecentMap<string, E.Either<Problem, PollRequest>>(KEPT_MAX);
  return (query) => {
    const known = kept.use(query);
    if (known !== undefined) return known;
    const decoded = decodePoll(new URLSearchParams(query));
    // A token in a query is nothing to be kept.
    if (query.length > KEPT_CHARACTERS_MAX || query.includes('token')) return decoded;
    kept.set(query, decoded);
    return decoded;
  };
};

const pollDecoder = (
  timeoutMaxMs: Milliseconds,
): ((query: URLSearchParams) => E.Either<Problem, PollRequest>) => {
  const PollQuery = t.type({
    topics: TopicsField,
    timeout: optional(integerField(0, Math.floor(timeoutMaxMs / 1000))),
    max: optional(integerField(1, POLL_MESSAGES_MAX)),
    client_id: optional(ClientIdField),
    delivery: optional(GuaranteeField),
    from: optional(StartField),
    ack_timeout: optional(AckTimeoutField),
  });
  return (query) => {
    // Named twice, both lists count.
    const topics = query.getAll('topics').join(',');
    return F.pipe(
      decode(PollQuery, {
        topics: topics === '' ? undefined : topics.split(','),
        timeout: numberOf(query, 'timeout'),
        max: numberOf(query, 'max'),
        client_id: textOf(query, 'client_id'),
        delivery: textOf(query, 'delivery'),
        from: textOf(query, 'from'),
        ack_timeout: numberOf(query, 'ack_timeout'),
      }),
      E.map((polled): PollRequest => ({
        topics: polled.topics,
        clientId: polled.client_id ?? DEFAULT_CLIENT_ID,
        timeoutMs: Math.min((polled.timeout ?? POLL_TIMEOUT_SECONDS_DEFAULT) * 1000, timeoutMaxMs),
        messagesMax: polled.max ?? POLL_MESSAGES_DEFAULT,
        start: polled.from ?? LATEST,
        ...(polled.delivery === undefined ? {} : { guarantee: polled.delivery }),
        ...(polled.ack_timeout === undefined ? {} : { ackTimeoutMs: polled.ack_timeout * 1000 }),
      })),
    );
  };
};

const ClientOfBody = t.type({ client_id: optional(ClientIdField) });

export interface SettleRequest {
  readonly settling: Settling;
  readonly clientId: ClientId;
}

export const decodeSettleBody = (verb: SettlingVerb, body: unknown): E.Either<Problem, SettleRequest> =>
  F.pipe(
    E.Do,
    E.apS('settling', decodeSettling(verb, BODY_IDS, body)),
    E.bind('client', () => decode(ClientOfBody, body)),
    E.map(({ settling, client }) => ({ settling, clientId: client.client_id ?? DEFAULT_CLIENT_ID })),
  );
