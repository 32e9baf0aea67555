/**
 * POST /api/v1/messages and /api/v1/messages/bulk, apart from how the request comes in and the answer goes out: the
 * Koa routes and the lean ones serve these same addresses. A duplicate is answered like the first one, and says so.
 * HOT PATH, budget 2 µs per publish without the use case (npm run bench -- --scenario ingest --profile DIR).
 */
import type { IncomingMessage } from 'node:http';
import { either as E, function as F } from 'fp-ts';
import type { Principal } from '../../application/ports/authenticator.js';
import type { PublishMessages, Receipt } from '../../application/publish-messages.js';
import type { PublishRefusal } from '../../application/refusals.js';
import { formatMessageId } from '../../domain/message/message-id.js';
import { decodeIdempotencyKeyHeader, refuseHeaderKey, withHeaderKey } from '../codecs/idempotency-key.js';
import { isoTime } from '../codecs/iso-time.js';
import { decodeBulk, decodePublication, inside } from '../codecs/publication.js';
import { toProblem, type Problem } from '../problem.js';
import { ENVELOPE_BYTES_MAX, type JsonBody } from './json-body.js';
import { toProblemBody } from './problem-response.js';

/** What a publish is answered with: JSON. */
export interface Published {
  readonly status: 201 | 207;
  readonly text: string;
}

export interface PublishAddress {
  readonly path: string;
  /** How large a body may be. */
  readonly bytesMax: number;
  readonly publish: (
    principal: Principal,
    request: IncomingMessage,
    json: JsonBody,
  ) => Promise<E.Either<Problem, Published>>;
}

/** A bulk of a thousand ordinary messages, or of a few of the largest. */
const BULK_BYTES_MIN = 16 * 1024 * 1024;

export const publishAddresses = (
  publish: PublishMessages,
  messageBytesMax: number,
): readonly PublishAddress[] => {
  const oneBytesMax = messageBytesMax + ENVELOPE_BYTES_MAX;
  return [
    { path: '/api/v1/messages', bytesMax: oneBytesMax, publish: publishOne(publish) },
    {
      path: '/api/v1/messages/bulk',
      bytesMax: Math.max(BULK_BYTES_MIN, oneBytesMax),
      publish: publishBulk(publish),
    },
  ];
};

/**
 * Plain branches where a pipe would read as well: its combinators would cost more than everything else in here. And a
 * `then` where an await would: the function that waits would be kept for as long as the store takes.
 */
const publishOne =
  (publish: PublishMessages): PublishAddress['publish'] =>
  (principal, request, { body, rawBody }) => {
    const headerKey = decodeIdempotencyKeyHeader(headerKeyOf(request));
    if (E.isLeft(headerKey)) return Promise.resolve(headerKey);
    const decoded = decodePublication(body, rawBody);
    if (E.isLeft(decoded)) return Promise.resolve(decoded);
    const item = withHeaderKey(decoded.right, headerKey.right);
    if (E.isLeft(item)) return Promise.resolve(item);
    return publish.one(principal, item.right)().then(toPublished);
  };

const toPublished = (receipt: E.Either<PublishRefusal, Receipt>): E.Either<Problem, Published> =>
  E.isLeft(receipt)
    ? E.left(toProblem(receipt.left))
    : E.right({ status: 201, text: receiptText(receipt.right) });

const publishBulk =
  (publish: PublishMessages): PublishAddress['publish'] =>
  async (principal, request, { body, rawBody }) => {
    const decoded = F.pipe(
      refuseHeaderKey(headerKeyOf(request)),
      E.flatMap(() => decodeBulk(body, rawBody)),
    );
    if (E.isLeft(decoded)) return decoded;
    const items = decoded.right.filter(E.isRight).map(({ right }) => right);
    const published = await publish.many(principal, items)();
    const outcomes = published.values();
    const results = decoded.right.map((item, i): E.Either<Problem, Receipt> => {
      if (E.isLeft(item)) return item;
      const outcome = outcomes.next().value;
      if (outcome === undefined) throw new Error('publish answers for every item');
      return E.isRight(outcome) ? outcome : E.left(inside(`messages[${i}]`, toProblem(outcome.left)));
    });
    return E.right({
      status: results.every(E.isRight) ? 201 : 207,
      text: `{"results":[${results.map(resultText).join(',')}]}`,
    });
  };

/** Node joins the values of a header that is there twice with a comma. */
const headerKeyOf = ({ headers }: IncomingMessage): string | undefined =>
  headers['idempotency-key']?.toString();

const receiptText = ({ topic, offset, publishedAt, isDuplicate }: Receipt): string =>
  `{"message_id":"${formatMessageId(topic, offset)}","topic":"${topic}","timestamp":"${isoTime(publishedAt)}"${isDuplicate ? ',"duplicate":true' : ''}}`;

const resultText = (result: E.Either<Problem, Receipt>): string =>
  E.isRight(result) ? receiptText(result.right) : JSON.stringify(toProblemBody(result.left));
