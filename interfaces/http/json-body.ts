/**
 * Reads a JSON body: only application/json, uncompressed, no deeper than 64 levels and in valid UTF-8. Keeps the text
 * beside the parsed value, since payloads are passed on as they were written.
 */
import { isUtf8 } from 'node:buffer';
import { koaBody } from 'koa-body';
import type { Context, Middleware } from 'koa';
import { JSON_DEPTH_MAX } from '../codecs/client-frame.js';
import { isDeeperThan } from '../codecs/json-text.js';
import type { Problem } from '../problem.js';
import { answerProblem } from './problem-response.js';

/** Room for everything in a message that is not its payload. */
export const ENVELOPE_BYTES_MAX = 64 * 1024;

export const jsonBody = (bytesMax: number): Middleware => {
  const parse = koaBody({
    json: true,
    text: false,
    urlencoded: false,
    multipart: false,
    jsonStrict: true,
    jsonTypes: ['application/json'],
    jsonLimit: bytesMax,
    includeUnparsed: true,
    onError: (error, context) => answerProblem(context, toProblem(error, context)),
  });
  return async (context, next) => {
    const problem = refusalOf(context, bytesMax);
    if (problem !== undefined) {
      refuseUnread(context, problem);
      return;
    }
    const takeChunks = chunksOf(context);
    await parse(context, async () => {
      const chunks = takeChunks();
      if (context.request.rawBody === undefined) return;
      const wrong = problemOf(context.request.rawBody, chunks);
      if (wrong === undefined) await next();
      else answerProblem(context, wrong);
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

const toProblem = (error: Error, context: Context): Problem => {
  const status = (error as { readonly status?: number }).status;
  if (status === 413) {
    context.set('Connection', 'close');
    return { code: 'payload_too_large', detail: 'The body is larger than it may be.' };
  }
  // What the parser says quotes the body; a client knows what it has sent.
  return { code: 'invalid_json', detail: 'The body is not a valid JSON object.' };
};

/**
 * The body's bytes as they come, beside the reader that makes a text of them and lets go of them. Answers them, and
 * stops listening, when it is asked.
 */
const chunksOf = ({ req }: Context): (() => readonly Buffer[]) => {
  const chunks: Buffer[] = [];
  const keep = (chunk: Buffer): number => chunks.push(chunk);
  req.on('data', keep);
  return () => {
    req.off('data', keep);
    return chunks;
  };
};

const problemOf = (text: string, chunks: readonly Buffer[]): Problem | undefined => {
  if (isDeeperThan(text, JSON_DEPTH_MAX)) {
    return { code: 'invalid_json', detail: `The body is nested deeper than ${JSON_DEPTH_MAX} levels.` };
  }
  // The reader puts U+FFFD where bytes are no UTF-8, but a producer may also have written it.
  return text.includes('\uFFFD') && !isUtf8(Buffer.concat(chunks))
    ? { code: 'invalid_json', detail: 'The body is not valid UTF-8.' }
    : undefined;
};
