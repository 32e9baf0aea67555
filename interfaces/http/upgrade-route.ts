/** GET /ws as a plain request: only an upgrade has an answer there (RFC 9110 §15.5.22). */
import type Router from '@koa/router';
import { answerProblem } from './problem-response.js';

export const addUpgradeRoute = (router: Router): void => {
  router.get('/ws', (context) => {
    context.set('Connection', 'Upgrade');
    context.set('Upgrade', 'websocket');
    answerProblem(context, { code: 'upgrade_required', detail: 'Connect to /ws as a WebSocket.' });
  });
};
