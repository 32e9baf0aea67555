/**
 * The HTTP API: the lean routes, and behind them a Koa application with everything. Here is what runs in front
 * of Koa's routes, and what becomes of an error behind them. What is put in front of these routes belongs in front of
 * the lean ones too (lean-publishing.ts, lean-polling.ts).
 */
import type { RequestListener } from 'node:http';
import Router from '@koa/router';
import Koa, { type Middleware } from 'koa';
import type { DeadLetters } from '../../application/dead-letters.js';
import type { PollMessages } from '../../application/poll-messages.js';
import type { Authenticator } from '../../application/ports/authenticator.js';
import type { Logger } from '../../application/ports/logger.js';
import type { PublishMessages } from '../../application/publish-messages.js';
import type { SettleMessages } from '../../application/settle-messages.js';
import type { ConnectionLimit } from '../connection-limit.js';
import { authenticate, type Authenticated } from './authenticate.js';
import { addDeadLetterRoutes } from './dead-letter-routes.js';
import { leanPolling } from './lean-polling.js';
import { leanPublishing } from './lean-publishing.js';
import { addManagementRoutes, type Management } from './management-routes.js';
import { addMessagesRoutes } from './messages-routes.js';
import { addPollRoutes } from './poll-routes.js';
import { answerProblem, INTERNAL_ERROR } from './problem-response.js';
import { makePolling, type PollingSettings } from './polling.js';
import { publishAddresses } from './publishing.js';
import { addSettleRoutes } from './settle-routes.js';
import { addUpgradeRoute } from './upgrade-route.js';

export interface HttpSettings extends PollingSettings {
  readonly messageBytesMax: number;
}

export interface HttpDependencies {
  readonly publish: PublishMessages;
  readonly polls: PollMessages;
  readonly settle: SettleMessages;
  readonly deadLetters: DeadLetters;
  readonly authenticator: Authenticator;
  readonly management: Management;
  readonly connections: ConnectionLimit;
  readonly logger: Logger;
}

export const makeHttpHandler = (dependencies: HttpDependencies, settings: HttpSettings): RequestListener => {
  const { publish, polls, authenticator, management, connections, logger } = dependencies;
  const addresses = publishAddresses(publish, settings.messageBytesMax);
  const polling = makePolling(polls, connections, settings);
  const app = makeHttpApp(dependencies, settings).callback();
  const { isDraining } = management;
  const common = { authenticator, logger, isDraining };
  return leanPublishing(
    { ...common, addresses },
    leanPolling({ ...common, polling }, (request, response) => {
      void app(request, response);
    }),
  );
};

/** Everything, also what the lean routes serve. */
export const makeHttpApp = (dependencies: HttpDependencies, settings: HttpSettings): Koa => {
  const { publish, polls, settle, deadLetters, authenticator, management, connections, logger } =
    dependencies;
  const open = new Router();
  addManagementRoutes(open, management);
  addUpgradeRoute(open);

  const api = new Router<Authenticated>();
  api.use(authenticate(authenticator));
  addMessagesRoutes(api, publishAddresses(publish, settings.messageBytesMax));
  addPollRoutes(api, makePolling(polls, connections, settings));
  addSettleRoutes(api, settle);
  addDeadLetterRoutes(api, deadLetters);

  const app = new Koa();
  app.silent = true;
  app.use(sayGoodbye(management));
  app.use(answerErrors(logger));
  app.use(answerNotFound);
  app.use(open.routes());
  app.use(open.allowedMethods());
  app.use(api.routes());
  app.use(api.allowedMethods());
  return app;
};

/** What is answered on the way out is the last on its connection, which would otherwise be kept open and hold us up. */
const sayGoodbye =
  ({ isDraining }: Management): Middleware =>
  async (context, next) => {
    await next();
    if (isDraining()) context.set('Connection', 'close');
  };

/** A throw is a bug of ours: the client learns that it was, the log learns the rest. */
const answerErrors =
  (logger: Logger): Middleware =>
  async (context, next) => {
    try {
      await next();
    } catch (error) {
      logger.error('request_failed', { method: context.method, path: context.path, error });
      answerProblem(context, INTERNAL_ERROR);
    }
  };

/** What no route has answered. */
const answerNotFound: Middleware = async (context, next) => {
  await next();
  if (context.body !== undefined && context.body !== null) return;
  if (context.status === 404) {
    answerProblem(context, { code: 'not_found', detail: `${context.path} is not part of this API.` });
  } else if (context.status === 405 || context.status === 501) {
    answerProblem(context, { code: 'method_not_allowed', detail: `${context.method} is not possible here.` });
  }
};
