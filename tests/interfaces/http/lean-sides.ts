/**
 * Two services that are alike but for the lean routes, for the tests that have both answer the same bytes: each on a
 * backend of its own, with clocks that stand at the same instant, so that equal publishes get equal places.
 */
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Authenticator } from '../../../application/ports/authenticator.js';
import { makePublishMessages } from '../../../application/publish-messages.js';
import { ApiKeyAuthenticator } from '../../../infrastructure/auth/api-key-authenticator.js';
import { CachingAuthenticator } from '../../../infrastructure/auth/caching-authenticator.js';
import { digestOf } from '../../../infrastructure/auth/token.js';
import { Listener } from '../../../infrastructure/composition/listener.js';
import { sha256Digest } from '../../../infrastructure/system/sha256-digest.js';
import { ConnectionLimit } from '../../../interfaces/connection-limit.js';
import { makeHttpApp } from '../../../interfaces/http/app.js';
import { leanPolling } from '../../../interfaces/http/lean-polling.js';
import { leanPublishing } from '../../../interfaces/http/lean-publishing.js';
import { makePolling } from '../../../interfaces/http/polling.js';
import { publishAddresses } from '../../../interfaces/http/publishing.js';
import { aPattern } from '../../support/builders.js';
import { anInstance, type Instance } from '../../support/instance.js';

export const MESSAGE_BYTES_MAX = 1000;
export const KEY = 'a-key-for-every-topic';
export const ORDERS_KEY = 'a-key-for-orders-only';
export const CONNECTIONS_MAX = 4;
const POLL_TIMEOUT_MAX_MS = 60_000;

export interface Side {
  readonly instance: Instance;
  readonly logged: readonly string[];
  readonly target: { readonly url: string };
  /** What everybody waits for who is to be authenticated. */
  onAuthenticating: () => Promise<void>;
  /** How many requests have come to Koa. */
  readonly handedOn: () => number;
  /** How many have left before they were answered. */
  readonly gone: () => number;
  readonly drain: (isDraining: boolean) => void;
  readonly close: () => Promise<void>;
}

export const openSide = async (isLean: boolean): Promise<Side> => {
  const instance = anInstance();
  const { logger, metrics, deadLetters, polls, backend } = instance;
  const grants = (pattern: string) => ({
    publish: [aPattern(pattern)],
    subscribe: [aPattern(pattern)],
    manage: [],
  });
  const keys = new CachingAuthenticator(
    new ApiKeyAuthenticator([
      { name: 'all', sha256: digestOf(KEY).toString('hex'), grants: grants('>') },
      { name: 'orders', sha256: digestOf(ORDERS_KEY).toString('hex'), grants: grants('orders.>') },
    ]),
    backend.clock,
  );
  const authenticator: Authenticator = {
    authenticate: (token) => async () => {
      await side.onAuthenticating();
      return keys.authenticate(token)();
    },
  };
  const publish = makePublishMessages(instance.store, backend.clock, metrics, sha256Digest, {
    payloadBytesMax: MESSAGE_BYTES_MAX,
    idempotencyWindowMs: 60_000,
  });
  let isGoing = false;
  let handedOn = 0;
  let gone = 0;
  const isDraining = (): boolean => isGoing;
  const connections = new ConnectionLimit(CONNECTIONS_MAX);
  const settings = { messageBytesMax: MESSAGE_BYTES_MAX, pollTimeoutMaxMs: POLL_TIMEOUT_MAX_MS };
  const app = makeHttpApp(
    {
      publish,
      polls,
      settle: instance.settleMessages,
      deadLetters,
      authenticator,
      management: { version: '1', storage: { problems: () => Promise.resolve([]) }, metrics, isDraining },
      connections,
      logger,
    },
    settings,
  ).callback();
  const koa: RequestListener = (request, response) => {
    handedOn += 1;
    void app(request, response);
  };
  const common = { authenticator, logger, isDraining };
  const addresses = publishAddresses(publish, MESSAGE_BYTES_MAX);
  const polling = makePolling(polls, connections, settings);
  const serve = isLean
    ? leanPublishing({ ...common, addresses }, leanPolling({ ...common, polling }, koa))
    : koa;
  const listener = await Listener.open(
    { host: '127.0.0.1', port: 0, readTimeoutMs: 0 },
    {
      onRequest: (request, response) => {
        response.once('close', () => (gone += response.writableFinished ? 0 : 1));
        serve(request, response);
      },
      onUpgrade: (_request, socket) => socket.destroy(),
    },
  );
  const side: Side = {
    instance,
    logged: logger.events,
    target: { url: `http://127.0.0.1:${listener.port}` },
    onAuthenticating: () => Promise.resolve(),
    handedOn: () => handedOn,
    gone: () => gone,
    drain: (value) => (isGoing = value),
    close: async () => {
      listener.retire();
      await listener.end(1000);
    },
  };
  return side;
};

/** The last request of a connection. Koa answers it. */
export const NEXT = 'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

/** `fields` are whole lines. */
export const requestBytes = (first: string, fields: readonly string[], body: string | Buffer = ''): Buffer =>
  Buffer.concat([Buffer.from([first, 'Host: x', ...fields, '', ''].join('\r\n')), Buffer.from(body)]);

export const bearer = (token: string | undefined): readonly string[] =>
  token === undefined ? [] : [`Authorization: Bearer ${token}`];

export const chunked = (...chunks: readonly string[]): string =>
  `${chunks.map((chunk) => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`;

export const undated = (answer: string): string => answer.replaceAll(/\r\nDate: [^\r]*/g, '\r\nDate: -');

/** Of the first answer that says more than to go on. */
export const statusOf = (answer: string): number =>
  Number(/^(?:HTTP\/1\.1 100 [^]*?\r\n\r\n)?HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

export const statusesOf = (answer: string): readonly number[] =>
  [...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));

export const connectTo = ({ target }: Side): Socket => connect(Number(new URL(target.url).port), '127.0.0.1');

/** Everything that comes back until the connection is closed. */
export const answersOf = async (socket: Socket): Promise<string> => {
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
  await once(socket, 'close');
  return answer;
};
