/** The publish addresses as Koa routes: for whatever the lean ones (lean-publishing.ts) leave alone. */
import type Router from '@koa/router';
import { either as E } from 'fp-ts';
import type { Authenticated } from './authenticate.js';
import { jsonBody } from './json-body.js';
import { answerProblem } from './problem-response.js';
import type { PublishAddress } from './publishing.js';

export const addMessagesRoutes = (
  router: Router<Authenticated>,
  addresses: readonly PublishAddress[],
): void => {
  for (const { path, bytesMax, publish } of addresses) {
    router.post(path, jsonBody(bytesMax), async (context) => {
      const { body, rawBody = '' } = context.request;
      const published = await publish(context.state.principal, context.req, { body, rawBody });
      if (E.isLeft(published)) {
        answerProblem(context, published.left);
        return;
      }
      context.status = published.right.status;
      context.type = 'application/json';
      context.body = published.right.text;
    });
  }
};
