/**
 * Reads a JSON body: only application/json, uncompressed, no deeper than 64 levels and in valid UTF-8. Keeps the text
 * beside the parsed value, since payloads are passed on as they were written.
 */
import { isUtf8 } from 'node:buffer';
import { either as E } from 'fp-ts';
import { koaBody } from 'koa-body';
import type { Context, Middleware } from 'koa';
import { JSON_DEPTH_MAX } from '../codecs/client-frame.js';
import { isDeeperThan } from '../codecs/json-text.js';
import { invalidRequest, type Problem } from '../problem.js';
import { answerProblem } from './problem-response.js';

/** Room for everything in a message that is not its payload. */
export const ENVELOPE_BYTES_MAX = 64 * 1024;
/** A thousand of the longest ids. */
export const IDS_BYTES_MAX = 512 * 1024;

export const jsonBody = (bytesMax: number): Middleware => {
  // Read as text: a parser of the library's own would refuse what JSON.parse takes, such as a key `__proto__`.
  const read = koaBody({
    json: false,
    text: true,
    urlencoded: false,
    multipart: false,
    textTypes: ['application/json'],
    textLimit: bytesMax,
    // A character for each byte: what is no UTF-8 would otherwise be replaced before anybody could see it.
    encoding: 'binary',
    onError: (error, context) => answerProblem(context, toProblem(error, context)),
  });
  return async (context, next) => {
    const problem = refusalOf(context, bytesMax);
    if (problem !== undefined) {
      refuseUnread(context, problem);
      return;
    }
    await read(context, async () => {
      const binary: unknown = context.request.body;
      if (typeof binary !== 'string') return;
      const parsed = parseJson(Buffer.from(binary, 'latin1'));
      if (E.isLeft(parsed)) {
        answerProblem(context, parsed.left);
        return;
      }
      Object.assign(context.request, parsed.right);
      await next();
    });
  };
};

/** The body stays unread, so the connection cannot be used for another request. */
const refuseUnread = (context: Context, problem: Problem): void => {
  context.set('Connection', 'close');
  answerProblem(context, problem);
};

const refusalOf = (context: Context, bytesMax: number): Problem | undefined => {
  if (context.get('Content-Encoding') !== '' || context.is('application/json') !== 'application/json') {
    return {
      code: 'unsupported_media_type',
      detail: 'Send uncompressed JSON as Content-Type: application/json.',
    };
  }
  return Number(context.get('Content-Length')) > bytesMax ? tooLarge(bytesMax) : undefined;
};

const tooLarge = (bytesMax: number): Problem => ({
  code: 'payload_too_large',
  detail: `The body must not be larger than ${bytesMax} bytes.`,
});

/** Why the body could not be read to its end. */
const toProblem = (error: Error, context: Context): Problem => {
  context.set('Connection', 'close');
  return (error as { readonly status?: number }).status === 413
    ? { code: 'payload_too_large', detail: 'The body is larger than it may be.' }
    : invalidRequest('body', 'did not arrive as its length was announced');
};

/** What the routes find in the request. */
export interface JsonBody {
  readonly body: unknown;
  readonly rawBody: string;
}

export const parseJson = (bytes: Buffer): E.Either<Problem, JsonBody> => {
  if (!isUtf8(bytes)) return E.left(invalidJson('The body is not valid UTF-8.'));
  const rawBody = bytes.toString('utf8');
  if (isDeeperThan(rawBody, JSON_DEPTH_MAX)) {
    return E.left(invalidJson(`The body is nested deeper than ${JSON_DEPTH_MAX} levels.`));
  }
  try {
    return E.right({ body: JSON.parse(rawBody) as unknown, rawBody });
  } catch {
    // What the parser says quotes the body; a client knows what it has sent.
    return E.left(invalidJson('The body is not valid JSON.'));
  }
};

const invalidJson = (detail: string): Problem => ({ code: 'invalid_json', detail });
