/** GET /api/v1/topics/{topic}/dead-letters and POST /api/v1/topics/{topic}/dead-letters/redrive. */
import type Router from '@koa/router';
import { function as F, taskEither as TE } from 'fp-ts';
import type { DeadLetterPage, DeadLetters } from '../../application/dead-letters.js';
import { formatMessageId } from '../../domain/message/message-id.js';
import { formatOffset } from '../../domain/message/offset.js';
import { decodeDeadLetterQuery, decodeRedrive, decodeTopicPath } from '../codecs/dead-letters.js';
import { messageMembers } from '../codecs/delivered-message.js';
import { toProblem } from '../problem.js';
import type { Authenticated } from './authenticate.js';
import { IDS_BYTES_MAX, jsonBody } from './json-body.js';
import { answerProblem } from './problem-response.js';

const PATH = '/api/v1/topics/:topic/dead-letters';

export const addDeadLetterRoutes = (router: Router<Authenticated>, deadLetters: DeadLetters): void => {
  router.get(PATH, async (context) => {
    await F.pipe(
      TE.fromEither(decodeDeadLetterQuery(context.params['topic'], new URLSearchParams(context.querystring))),
      TE.flatMap(({ topic, after, limit }) =>
        F.pipe(deadLetters.list(context.state.principal, topic, after, limit), TE.bimap(toProblem, pageText)),
      ),
      TE.match(
        (problem) => answerProblem(context, problem),
        (text) => {
          context.status = 200;
          context.type = 'application/json';
          context.set('Cache-Control', 'no-store');
          context.body = text;
        },
      ),
    )();
  });

  router.post(`${PATH}/redrive`, jsonBody(IDS_BYTES_MAX), async (context) => {
    await F.pipe(
      TE.Do,
      TE.apS('topic', TE.fromEither(decodeTopicPath(context.params['topic']))),
      TE.bind('which', () => TE.fromEither(decodeRedrive(context.request.body))),
      TE.flatMap(({ topic, which }) =>
        F.pipe(deadLetters.redrive(context.state.principal, topic, which), TE.mapLeft(toProblem)),
      ),
      TE.match(
        (problem) => answerProblem(context, problem),
        ({ count, unknown }) => {
          context.status = 200;
          context.body = {
            redriven: count,
            unknown: unknown.map(({ topic, offset }) => formatMessageId(topic, offset)),
          };
        },
      ),
    )();
  });
};

/** Nothing is named where the messages of the topic are dropped instead. */
const pageText = ({ deadLetterTopic, messages, next: from }: DeadLetterPage): string => {
  if (deadLetterTopic === undefined) return '{"messages":[]}';
  const list = messages.map((message) => `{${messageMembers(deadLetterTopic, message, 0)}}`).join(',');
  const next = from === undefined ? '' : `,"next":"${formatOffset(from)}"`;
  return `{"dead_letter_topic":"${deadLetterTopic}","messages":[${list}]${next}}`;
};
