/**
 * Polls without Koa and router (ADR 0023).
 * HOT PATH, budget 45 µs per delivery, its poll included (npm run bench -- --scenario poll-one-topic).
 * Serves the plain request that nearly every consumer sends: a GET of the address to the letter, the token in its header.
 * Whatever is unusual goes on to Koa. Everything that says yes or no is shared with Koa's route, and
 * tests/interfaces/http/lean-polling.test.ts has both answer the same requests with the same bytes.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { either as E } from 'fp-ts';
import { Caller } from '../../application/poll-messages.js';
import type { Authenticator } from '../../application/ports/authenticator.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Problem } from '../problem.js';
import { bearerOf, TOKEN_INVALID } from './authenticate.js';
import { writeJson, writeProblem } from './lean-response.js';
import { POLL_PATH, type Polling } from './polling.js';
import { INTERNAL_ERROR } from './problem-response.js';

export interface LeanPollingDependencies {
  readonly polling: Polling;
  readonly authenticator: Authenticator;
  readonly logger: Logger;
  readonly isDraining: () => boolean;
}

const BEGIN = `${POLL_PATH}?`;
const FIELDS = ['Cache-Control', 'no-store'];

/** Serves what it can and hands on the rest, untouched. */
export const leanPolling =
  (dependencies: LeanPollingDependencies, next: RequestListener): RequestListener =>
  (request, response) => {
    const { method, url = '' } = request;
    const isPlain = method === 'GET' && url.startsWith(BEGIN) && !url.includes('#');
    const token = isPlain ? bearerOf(request) : undefined;
    if (token === undefined) next(request, response);
    else void serve(dependencies, token, request, response);
  };

const serve = async (
  dependencies: LeanPollingDependencies,
  token: string,
  { url = '' }: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const { polling, authenticator, logger, isDraining } = dependencies;
  let answer: E.Either<Problem, string>;
  const caller = new Caller();
  response.on('close', () => {
    if (!response.writableFinished) caller.hangUp();
  });
  try {
    const principal = await authenticator.authenticate(token)();
    answer = E.isLeft(principal)
      ? E.left(TOKEN_INVALID)
      : await polling(principal.right, url.slice(BEGIN.length), caller);
  } catch (error) {
    logger.error('request_failed', { method: 'GET', path: POLL_PATH, error });
    answer = E.left(INTERNAL_ERROR);
  }
  if (E.isLeft(answer)) writeProblem(response, answer.left, isDraining());
  else writeJson(response, 200, FIELDS, answer.right, isDraining());
};
