/** Who is asking: `Authorization: Bearer`, or `?token=` for clients that cannot set a header. Before any body is read. */
import type { IncomingMessage } from 'node:http';
import { either as E } from 'fp-ts';
import type { Middleware } from 'koa';
import type { Authenticator, Principal } from '../../application/ports/authenticator.js';
import type { Problem } from '../problem.js';
import { answerProblem } from './problem-response.js';

export interface Authenticated {
  principal: Principal;
}

const BEARER_PATTERN = /^Bearer +([^\s]+) *$/i;

export const TOKEN_MISSING: Problem = {
  code: 'unauthorized',
  detail: 'Send the token as Authorization: Bearer TOKEN.',
};
export const TOKEN_INVALID: Problem = { code: 'unauthorized', detail: 'The token is not valid.' };

/** The token in the header; undefined where there is none. */
export const bearerOf = (request: IncomingMessage): string | undefined =>
  BEARER_PATTERN.exec(request.headers.authorization ?? '')?.[1];

/** The token of a request or of an upgrade; undefined where there is none. */
export const tokenOf = (request: IncomingMessage, query: URLSearchParams): string | undefined =>
  bearerOf(request) ?? query.get('token') ?? undefined;

export const authenticate =
  (authenticator: Authenticator): Middleware<Authenticated> =>
  async (context, next) => {
    // A query is only taken apart where it is needed.
    const token = bearerOf(context.req) ?? tokenOf(context.req, new URLSearchParams(context.querystring));
    if (token === undefined) {
      answerProblem(context, TOKEN_MISSING);
      return;
    }
    const principal = await authenticator.authenticate(token)();
    if (E.isLeft(principal)) {
      answerProblem(context, TOKEN_INVALID);
      return;
    }
    context.state.principal = principal.right;
    await next();
  };
