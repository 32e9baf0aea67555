/** POST /api/v1/messages and /api/v1/messages/bulk. A duplicate is answered like the first one, and says so. */
import type { IncomingMessage } from 'node:http';
import type Router from '@koa/router';
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import type { PublishMessages, Receipt } from '../../application/publish-messages.js';
import { formatMessageId } from '../../domain/message/message-id.js';
import { decodeIdempotencyKeyHeader, refuseHeaderKey, withHeaderKey } from '../codecs/idempotency-key.js';
import { decodeBulk, decodePublication, inside } from '../codecs/publication.js';
import { toProblem, type Problem } from '../problem.js';
import type { Authenticated } from './authenticate.js';
import { ENVELOPE_BYTES_MAX, jsonBody } from './json-body.js';
import { answerProblem, toProblemBody } from './problem-response.js';

/** A bulk of a thousand ordinary messages, or of a few of the largest. */
const BULK_BYTES_MIN = 16 * 1024 * 1024;

export const addMessagesRoutes = (
  router: Router<Authenticated>,
  publish: PublishMessages,
  messageBytesMax: number,
): void => {
  const oneBytesMax = messageBytesMax + ENVELOPE_BYTES_MAX;

  router.post('/api/v1/messages', jsonBody(oneBytesMax), async (context) => {
    await F.pipe(
      TE.fromEither(decodeIdempotencyKeyHeader(headerKeyOf(context.req))),
      TE.flatMapEither((headerKey) =>
        F.pipe(
          decodePublication(context.request.body, context.request.rawBody ?? ''),
          E.flatMap((item) => withHeaderKey(item, headerKey)),
        ),
      ),
      TE.flatMap((item) => F.pipe(publish.one(context.state.principal, item), TE.mapLeft(toProblem))),
      TE.match(
        (problem) => answerProblem(context, problem),
        (receipt) => {
          context.status = 201;
          context.type = 'application/json';
          context.body = receiptText(receipt);
        },
      ),
    )();
  });

  router.post('/api/v1/messages/bulk', jsonBody(Math.max(BULK_BYTES_MIN, oneBytesMax)), async (context) => {
    const decoded = F.pipe(
      refuseHeaderKey(headerKeyOf(context.req)),
      E.flatMap(() => decodeBulk(context.request.body, context.request.rawBody ?? '')),
    );
    if (E.isLeft(decoded)) {
      answerProblem(context, decoded.left);
      return;
    }
    const items = decoded.right.filter(E.isRight).map(({ right }) => right);
    const published = await publish.many(context.state.principal, items)();
    const outcomes = published.values();
    const results = decoded.right.map((item, i): E.Either<Problem, Receipt> => {
      if (E.isLeft(item)) return item;
      const outcome = outcomes.next().value;
      if (outcome === undefined) throw new Error('publish answers for every item');
      return F.pipe(
        outcome,
        E.mapLeft((refusal) => inside(`messages[${i}]`, toProblem(refusal))),
      );
    });
    context.status = results.every(E.isRight) ? 201 : 207;
    context.type = 'application/json';
    context.body = `{"results":[${results.map(resultText).join(',')}]}`;
  });
};

/** Node joins the values of a header that is there twice with a comma. */
const headerKeyOf = ({ headers }: IncomingMessage): string | undefined =>
  headers['idempotency-key']?.toString();

const receiptText = ({ topic, offset, publishedAt, isDuplicate }: Receipt): string =>
  `{"message_id":"${formatMessageId(topic, offset)}","topic":"${topic}","timestamp":"${new Date(publishedAt).toISOString()}"${isDuplicate ? ',"duplicate":true' : ''}}`;

const resultText = (result: E.Either<Problem, Receipt>): string =>
  E.isRight(result) ? receiptText(result.right) : JSON.stringify(toProblemBody(result.left));
