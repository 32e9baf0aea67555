/** Problems as HTTP answers: application/problem+json, RFC 9457. */
import type { Context } from 'koa';
import { CODES, type Problem } from '../problem.js';

/** When a client may try again, in seconds. Short: what is temporary here is a restart or a reconnect. */
const RETRY_AFTER_SECONDS = 1;

export interface ProblemBody extends Problem {
  readonly title: string;
  readonly status: number;
  readonly temporary: boolean;
}

export const toProblemBody = (problem: Problem): ProblemBody => ({ ...CODES[problem.code], ...problem });

export const answerProblem = (context: Context, problem: Problem): void => {
  const body = toProblemBody(problem);
  context.status = body.status;
  context.type = 'application/problem+json';
  context.body = JSON.stringify(body);
  if (body.status === 401) context.set('WWW-Authenticate', 'Bearer');
  if (body.status >= 500 && body.temporary) context.set('Retry-After', String(RETRY_AFTER_SECONDS));
};
