/** Who is asking: `Authorization: Bearer`, or `?token=` for clients that cannot set a header. Before any body is read. */
import type { IncomingMessage } from 'node:http';
import { either as E } from 'fp-ts';
import type { Middleware } from 'koa';
import type { Authenticator, Principal } from '../../application/ports/authenticator.js';
import { answerProblem } from './problem-response.js';

export interface Authenticated {
  principal: Principal;
}

const BEARER_PATTERN = /^Bearer +([^\s]+) *$/i;

/** The token of a request or of an upgrade; undefined where there is none. */
export const tokenOf = (request: IncomingMessage, query: URLSearchParams): string | undefined =>
  BEARER_PATTERN.exec(request.headers.authorization ?? '')?.[1] ?? query.get('token') ?? undefined;

export const authenticate =
  (authenticator: Authenticator): Middleware<Authenticated> =>
  async (context, next) => {
    const token = tokenOf(context.req, new URLSearchParams(context.querystring));
    const principal = token === undefined ? E.left(undefined) : await authenticator.authenticate(token)();
    if (E.isLeft(principal)) {
      answerProblem(context, {
        code: 'unauthorized',
        detail:
          token === undefined ? 'Send the token as Authorization: Bearer TOKEN.' : 'The token is not valid.',
      });
      return;
    }
    context.state.principal = principal.right;
    await next();
  };
