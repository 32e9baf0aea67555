/** GET /api/v1/poll. */
import type Router from '@koa/router';
import { function as F, taskEither as TE } from 'fp-ts';
import type { PollAnswer, PollMessages } from '../../application/poll-messages.js';
import type { Milliseconds } from '../../domain/time.js';
import { messageMembers } from '../codecs/delivered-message.js';
import { gapMembers } from '../codecs/gap.js';
import { decodePollQuery } from '../codecs/http-requests.js';
import type { ConnectionLimit } from '../connection-limit.js';
import { toProblem } from '../problem.js';
import type { Authenticated } from './authenticate.js';
import { answerProblem } from './problem-response.js';

export const addPollRoutes = (
  router: Router<Authenticated>,
  polls: PollMessages,
  connections: ConnectionLimit,
  pollTimeoutMaxMs: Milliseconds,
): void => {
  router.get('/api/v1/poll', async (context) => {
    // The router takes HEAD for GET, but a poll without an answer would only lose what it takes.
    if (context.method === 'HEAD') {
      context.set('Allow', 'GET');
      answerProblem(context, { code: 'method_not_allowed', detail: 'HEAD is not possible here.' });
      return;
    }
    if (!connections.take()) {
      answerProblem(context, { code: 'too_many_connections', detail: 'Try again, or another instance.' });
      return;
    }
    const gone = new AbortController();
    const { res } = context;
    res.once('close', () => {
      if (!res.writableFinished) gone.abort();
    });
    try {
      await F.pipe(
        TE.fromEither(decodePollQuery(new URLSearchParams(context.querystring), pollTimeoutMaxMs)),
        TE.flatMap((request) =>
          F.pipe(polls.poll(context.state.principal, request, gone.signal), TE.mapLeft(toProblem)),
        ),
        TE.match(
          (problem) => answerProblem(context, problem),
          (answer) => {
            context.status = 200;
            context.type = 'application/json';
            context.set('Cache-Control', 'no-store');
            context.body = answerText(answer);
          },
        ),
      )();
    } finally {
      connections.giveBack();
    }
  });
};

const answerText = ({ messages, gaps, isNewSubscription }: PollAnswer): string => {
  const list = messages
    .map(({ topic, message, attempt }) => `{${messageMembers(topic, message, attempt)}}`)
    .join(',');
  const told = gaps.length === 0 ? '' : `,"gaps":[${gaps.map((gap) => `{${gapMembers(gap)}}`).join(',')}]`;
  return `{"messages":[${list}]${told}${isNewSubscription ? ',"new_subscription":true' : ''}}`;
};
