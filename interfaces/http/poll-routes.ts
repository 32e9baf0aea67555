/** GET /api/v1/poll, where the lean route has left it to Koa. */
import type Router from '@koa/router';
import { either as E } from 'fp-ts';
import { Caller } from '../../application/poll-messages.js';
import type { Authenticated } from './authenticate.js';
import { POLL_PATH, type Polling } from './polling.js';
import { answerProblem } from './problem-response.js';

export const addPollRoutes = (router: Router<Authenticated>, polling: Polling): void => {
  router.get(POLL_PATH, async (context) => {
    // The router takes HEAD for GET, but a poll without an answer would only lose what it takes.
    if (context.method === 'HEAD') {
      context.set('Allow', 'GET');
      answerProblem(context, { code: 'method_not_allowed', detail: 'HEAD is not possible here.' });
      return;
    }
    const caller = new Caller();
    const { res } = context;
    res.once('close', () => {
      if (!res.writableFinished) caller.hangUp();
    });
    // While the token was looked at, say.
    if (context.req.socket.destroyed) caller.hangUp();
    const answer = await polling(context.state.principal, context.querystring, caller);
    if (E.isLeft(answer)) {
      answerProblem(context, answer.left);
      return;
    }
    context.status = 200;
    context.type = 'application/json';
    context.body = answer.right;
    context.set('Cache-Control', 'no-store');
  });
};
