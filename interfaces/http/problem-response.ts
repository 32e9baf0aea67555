/** Problems as HTTP answers: application/problem+json, RFC 9457. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Context } from 'koa';
import { CODES, type Problem } from '../problem.js';

/** When a client may try again, in seconds. Short: what is temporary here is a restart or a reconnect. */
const RETRY_AFTER_SECONDS = 1;

export interface ProblemBody extends Problem {
  readonly title: string;
  readonly status: number;
  readonly temporary: boolean;
}

export const PROBLEM_TYPE = 'application/problem+json';

/** What a client learns of a mistake of ours. */
export const INTERNAL_ERROR: Problem = {
  code: 'internal_error',
  detail: 'The proxy has logged what happened.',
};

export const toProblemBody = (problem: Problem): ProblemBody => ({ ...CODES[problem.code], ...problem });

export const answerProblem = (context: Context, problem: Problem): void => {
  const body = toProblemBody(problem);
  context.status = body.status;
  context.type = PROBLEM_TYPE;
  context.body = JSON.stringify(body);
  for (const [name, value] of fieldsOf(body)) context.set(name, value);
};

type Field = readonly [name: string, value: string];

/** The header fields of a problem's answer, beside those of its text. */
export const fieldsOf = ({ status, temporary }: ProblemBody): readonly Field[] => {
  if (status === 401) return [['WWW-Authenticate', 'Bearer']];
  return status >= 500 && temporary ? [['Retry-After', String(RETRY_AFTER_SECONDS)]] : [];
};

/** Answers where there is no response to write to, only a connection, and ends the connection. */
export const endWithProblem = (
  socket: Duplex,
  problem: Problem,
  headers: Readonly<Record<string, string>> = {},
): void => {
  const body = toProblemBody(problem);
  const text = JSON.stringify(body);
  const fields = {
    'Content-Type': PROBLEM_TYPE,
    ...Object.fromEntries(fieldsOf(body)),
    ...headers,
    'Content-Length': String(Buffer.byteLength(text)),
    Connection: 'close',
  };
  // Cut off behind the answer: left half open, it would stay for as long as the client likes.
  socket.once('finish', () => socket.destroy());
  socket.end(
    [
      `HTTP/1.1 ${body.status} ${STATUS_CODES[body.status] ?? ''}`,
      ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
      '',
      text,
    ].join('\r\n'),
  );
};
