/**
 * The publish addresses without Koa, router and body parser: they are half of what a publish costs there (ADR 0023).
 * HOT PATH, budget 22 µs per publish from socket to socket (npm run bench -- --scenario ingest).
 * Serves the plain request that nearly every producer sends: one of two addresses to the letter, the token in its
 * header, a JSON body of a length that is known and allowed. Whatever is unusual about the head of a request goes on to
 * Koa before a byte of its body is read. Everything that says yes or no is shared with the Koa routes, and
 * tests/interfaces/http/lean-publishing.test.ts has both answer the same requests with the same bytes.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { either as E } from 'fp-ts';
import type { Authenticator } from '../../application/ports/authenticator.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Problem } from '../problem.js';
import { bearerOf, TOKEN_INVALID } from './authenticate.js';
import { parseJson } from './json-body.js';
import { writeJson, writeProblem } from './lean-response.js';
import { INTERNAL_ERROR } from './problem-response.js';
import type { PublishAddress, Published } from './publishing.js';

export interface LeanDependencies {
  readonly addresses: readonly PublishAddress[];
  readonly authenticator: Authenticator;
  readonly logger: Logger;
  readonly isDraining: () => boolean;
}

/** As clients write them. Any other spelling is for Koa to read. */
const JSON_TYPES: ReadonlySet<string | undefined> = new Set([
  'application/json',
  'application/json; charset=utf-8',
  'application/json;charset=utf-8',
  'application/json; charset=UTF-8',
  'application/json;charset=UTF-8',
]);

/**
 * As clients write them that keep their connection. Behind the last request nothing may follow, which Node says in place
 * of an answer, as long as there is none: so that one is not answered earlier than Koa would.
 */
const STAYING: ReadonlySet<string | undefined> = new Set([undefined, 'keep-alive', 'Keep-Alive']);

/** Serves what it can and hands on the rest, untouched. */
export const leanPublishing = (dependencies: LeanDependencies, next: RequestListener): RequestListener => {
  const addresses = new Map(dependencies.addresses.map((address) => [address.path, address]));
  return (request, response) => {
    const address = addresses.get(request.url ?? '');
    const token = address !== undefined && isPlain(request, address.bytesMax) ? bearerOf(request) : undefined;
    if (address === undefined || token === undefined) next(request, response);
    else {
      void answerTo(dependencies, address, token, request).then((published) =>
        write(response, published, dependencies.isDraining()),
      );
    }
  };
};

/** Of several headers of one name Node keeps the first here, as it does for Koa. */
const isPlain = ({ method, headers }: IncomingMessage, bytesMax: number): boolean =>
  method === 'POST' &&
  JSON_TYPES.has(headers['content-type']) &&
  headers['content-encoding'] === undefined &&
  // NaN, where no length is given, is not within any bounds.
  Number(headers['content-length']) <= bytesMax;

const write = (response: ServerResponse, published: E.Either<Problem, Published>, isLast: boolean): void => {
  if (E.isLeft(published)) writeProblem(response, published.left, isLast);
  else writeJson(response, published.right.status, [], published.right.text, isLast);
};

const answerTo = async (
  { authenticator, logger }: LeanDependencies,
  address: PublishAddress,
  token: string,
  request: IncomingMessage,
): Promise<E.Either<Problem, Published>> => {
  try {
    const principal = await authenticator.authenticate(token)();
    if (E.isLeft(principal)) return E.left(TOKEN_INVALID);
    const json = parseJson(readyBodyOf(request) ?? (await bodyOf(request)));
    return E.isLeft(json) ? json : await address.publish(principal.right, request, json.right);
  } catch (error) {
    logger.error('request_failed', { method: request.method, path: address.path, error });
    return E.left(INTERNAL_ERROR);
  }
};

/**
 * All of the body, where all of it has come: it mostly comes with the head, and was read while we asked who it is. Then
 * nobody waits for the end of the request, and Node is spared what it does when one ends, about 3 µs. What has come of a
 * body that is not whole yet stays to be read.
 */
const readyBodyOf = (request: IncomingMessage): Buffer | undefined => {
  const { headers, readableLength } = request;
  const isReady = readableLength > 0 && readableLength === Number(headers['content-length']);
  return isReady && STAYING.has(headers.connection) ? (request.read() as Buffer) : undefined;
};

/**
 * A length is announced, and the parser gives no byte more than that. Of a request that breaks off there is no end:
 * nobody is left to be answered, and the promise goes the way of the request.
 */
const bodyOf = (request: IncomingMessage): Promise<Buffer> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const [first] = chunks;
      resolve(first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks));
    });
  });
