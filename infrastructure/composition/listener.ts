/**
 * Listener: an HTTP server at one port, and how it ends without cutting anybody off. Ending takes two steps: after
 * `retire` nobody new is accepted and every answer says that it is the last on its connection; `end` then waits for
 * the answers under way and closes the connections on which nothing was asked.
 */
import { once } from 'node:events';
import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { Server as TcpServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import type { Milliseconds } from '../../domain/time.js';
import { endWithProblem } from '../../interfaces/http/problem-response.js';

export interface ListenerSettings {
  readonly host: string;
  readonly port: number;
  /** Time a client has to send a whole request. 0 is no limit. */
  readonly readTimeoutMs: Milliseconds;
}

export interface Handlers {
  readonly onRequest: RequestListener;
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

/** Longer than load balancers keep an idle connection (60 s): it must be theirs to close. */
const KEEP_ALIVE_TIMEOUT_MS: Milliseconds = 65_000;
const HEADERS_TIMEOUT_MS: Milliseconds = 10_000;
const HEADERS_MAX = 64;
/** How often Node looks for requests that are too slow: so much later than allowed they are noticed. */
const TIMEOUT_CHECK_INTERVAL_MS: Milliseconds = 1_000;
/** The next request may be on its way already over a connection that looks idle here: it is waited for this long. */
const IDLE_MS: Milliseconds = 500;

export class Listener {
  /**
   * Every connection, and the answers under way on it: more than one where requests were sent without waiting. By
   * connection and not in one Set, because it changes with every request: a Set that has grown out of its table leaves
   * the table pointing to the next one, and once one of them is old, all answers since then outlive every scavenge.
   */
  private readonly connections = new Map<Duplex, ServerResponse[]>();
  /** Set from the moment on that it retires. */
  private closed: Promise<unknown> | undefined;

  private constructor(
    private readonly server: Server,
    handlers: Handlers,
  ) {
    const { connections } = this;
    const forget = function (this: ServerResponse): void {
      const answering = connections.get(this.req.socket) ?? [];
      const at = answering.indexOf(this);
      if (at === 0) answering.shift();
      else if (at > 0) answering.splice(at, 1);
    };
    // One listener for all connections, as for all responses: an idle socket would hold a closure and what `once` makes.
    const onClosed = function (this: Socket): void {
      connections.delete(this);
    };
    server.on('connection', (socket: Socket) => {
      // One that was given back by an upgrade is known.
      if (connections.has(socket)) return;
      connections.set(socket, []);
      socket.on('close', onClosed);
    });
    server.on('upgrade', (request, socket: Duplex, head: Buffer) => {
      if (request.headers.upgrade?.toLowerCase() === 'websocket') handlers.onUpgrade(request, socket, head);
      else this.answerWithoutUpgrade(request, socket, head);
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) =>
      this.answerNoRequest(error, socket),
    );
    server.on('request', (request, response: ServerResponse) => {
      connections.get(request.socket)?.push(response);
      // One listener for all responses: a closure for each would be most of what this costs.
      response.on('close', forget);
      if (this.closed !== undefined) response.shouldKeepAlive = false;
      handlers.onRequest(request, response);
    });
  }

  static async open({ host, port, readTimeoutMs }: ListenerSettings, handlers: Handlers): Promise<Listener> {
    const server = createServer({
      // The headers are a part of the request.
      headersTimeout: readTimeoutMs === 0 ? HEADERS_TIMEOUT_MS : Math.min(HEADERS_TIMEOUT_MS, readTimeoutMs),
      requestTimeout: readTimeoutMs,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    });
    server.maxHeadersCount = HEADERS_MAX;
    const listener = new Listener(server, handlers);
    server.listen(port, host);
    await once(server, 'listening');
    return listener;
  }

  /**
   * A client may offer another protocol than WebSocket, as HTTP clients do with h2c, and a server may ignore the offer
   * (RFC 9110 §7.8). Node takes the connection from the parser all the same: it is given back, without the offer.
   */
  private answerWithoutUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.unshift(Buffer.concat([Buffer.from(headWithoutUpgrade(request), 'latin1'), head]));
    this.server.emit('connection', socket);
  }

  /** What comes is no HTTP, or comes too slowly. Whoever is in the middle of an answer can only be cut off. */
  private answerNoRequest({ code }: NodeJS.ErrnoException, socket: Duplex): void {
    const answering = this.connections.get(socket);
    const isBeingAnswered = answering?.some(({ headersSent }) => headersSent) ?? false;
    if (!socket.writable || isBeingAnswered) socket.destroy();
    else if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
      endWithProblem(socket, {
        code: 'request_timeout',
        detail: 'The server has waited long enough for the rest of the request.',
      });
    } else {
      const status = code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
      socket.once('finish', () => socket.destroy());
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\n\r\n`);
    }
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  retire(): void {
    this.closed = once(this.server, 'close');
    for (const answering of this.connections.values()) {
      for (const response of answering) response.shouldKeepAlive = false;
    }
    // An HTTP server would close its idle connections with this, and with them what is on its way.
    TcpServer.prototype.close.call(this.server);
  }

  /** Resolves when every connection is closed, those that take longer than `withinMs` by force. */
  async end(withinMs: Milliseconds): Promise<void> {
    if (this.connections.size > 0) {
      await delay(Math.min(IDLE_MS, withinMs / 2));
      // Timers come first in a turn: what has arrived while this process was busy is to be read before it is looked at.
      await nextTurn();
      await nextTurn();
    }
    for (const [socket, answering] of this.connections) if (answering.length === 0) socket.destroy();
    const force = setTimeout(() => this.server.closeAllConnections(), withinMs);
    await this.closed;
    clearTimeout(force);
  }
}

/** The head of the request as it came, without what asks for another protocol. */
const headWithoutUpgrade = ({ method, url, httpVersion, rawHeaders }: IncomingMessage): string => {
  const lines = [`${method ?? 'GET'} ${url ?? '/'} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    const value = rawHeaders[i + 1] ?? '';
    if (!OF_UPGRADES.has(name.toLowerCase())) lines.push(`${name}: ${value}`);
    else if (/\bclose\b/i.test(value)) lines.push('Connection: close');
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
};

const OF_UPGRADES: ReadonlySet<string> = new Set(['connection', 'upgrade', 'http2-settings']);
