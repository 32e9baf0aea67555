/** The WebSocket endpoint /ws: upgrades, asks whether clients are still there, and says goodbye to them. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { either as E } from 'fp-ts';
import { WebSocket, WebSocketServer, type Server } from 'ws';
import type { Principal } from '../../application/ports/authenticator.js';
import type { Cancel } from '../../application/ports/clock.js';
import type { Metrics } from '../../application/ports/metrics.js';
import type { Milliseconds } from '../../domain/time.js';
import type { ConnectionLimit } from '../connection-limit.js';
import { tokenOf } from '../http/authenticate.js';
import { ENVELOPE_BYTES_MAX } from '../http/json-body.js';
import { endWithProblem } from '../http/problem-response.js';
import { invalidRequest, type Problem } from '../problem.js';
import { CLOSES } from './close-codes.js';
import { SocketClient, type SocketClientDependencies } from './socket-client.js';
import { TokenExpiries } from './token-expiries.js';
import { WsConnection, type WsConnectionSettings } from './ws-connection.js';

export interface WebSocketSettings extends WsConnectionSettings {
  readonly messageBytesMax: number;
}

export interface WebSocketDependencies extends SocketClientDependencies {
  readonly connections: ConnectionLimit;
  readonly metrics: Metrics;
}

export const SUBPROTOCOL = 'pulsar-proxy.v1';

/** How often every client is asked for a sign of life, and within which a client must have given one. */
const PING_INTERVAL_MS: Milliseconds = 25_000;
const FRAGMENTS_MAX = 64;
/** Clients are sent away one by one this far apart, so that they do not all come back at once. */
const GOODBYE_INTERVAL_MS: Milliseconds = 2;

/**
 * A socket that knows its client, so that all sockets share their listeners: closures of its own would be most of what
 * an idle one holds.
 */
class ClientSocket extends WebSocket {
  /** Undefined where it was only upgraded to be told that it may not stay. */
  client: SocketClient | undefined = undefined;
  connection: WsConnection | undefined = undefined;
  /** What had been received from it when it was asked for a sign of life. */
  bytesReadBefore = 0;
}

export class WebSocketEndpoint {
  private readonly server: Server<typeof ClientSocket>;
  /** Each with its TCP socket. */
  private readonly sockets = new Map<ClientSocket, Socket>();
  private readonly expiries: TokenExpiries;
  /** One listener for all sockets, each. */
  private readonly onClose: (this: WebSocket) => void;
  private readonly onError: (error: Error) => void;
  private cancelPings: Cancel;
  private isDraining = false;

  constructor(
    private readonly dependencies: WebSocketDependencies,
    private readonly settings: WebSocketSettings,
  ) {
    this.server = new WebSocketServer({
      noServer: true,
      // It would be one more set and one more listener for each.
      clientTracking: false,
      WebSocket: ClientSocket,
      perMessageDeflate: false,
      maxPayload: settings.messageBytesMax + ENVELOPE_BYTES_MAX,
      maxFragments: FRAGMENTS_MAX,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    this.server.on('wsClientError', (error: Error, socket, request) =>
      endWithProblem(socket, ...refusalOfHandshake(error, request)),
    );
    const { clock, connections, logger, metrics } = dependencies;
    const { sockets } = this;
    this.expiries = new TokenExpiries(clock, () => this.clients());
    this.onError = (error) => logger.debug('websocket_error', { error: error.message });
    this.onClose = function (): void {
      if (!(this instanceof ClientSocket)) return;
      sockets.delete(this);
      connections.giveBack();
      if (this.client === undefined) return;
      metrics.connectionClosed('websocket');
      void this.client.leave();
    };
    this.cancelPings = clock.after(PING_INTERVAL_MS, () => this.pingAll());
  }

  /** Handles the `upgrade` event of an HTTP server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', destroy);
    this.upgradeOrRefuse(request, socket, head).catch((error: unknown) => {
      this.dependencies.logger.error('upgrade_failed', { error });
      socket.destroy();
    });
  }

  /** Sends every client away within about `withinMs`, and resolves when their positions are recorded. */
  async drain(withinMs: Milliseconds): Promise<void> {
    this.isDraining = true;
    this.cancelPings();
    const clients = [...this.clients()];
    const intervalMs = Math.min(GOODBYE_INTERVAL_MS, withinMs / Math.max(1, clients.length));
    const { clock } = this.dependencies;
    await Promise.all(
      clients.map(
        (client, i) =>
          new Promise<void>((resolve) => {
            clock.after(i * intervalMs, () => void client.leave('going_away').then(resolve));
          }),
      ),
    );
  }

  /** Cuts off whoever has not answered the goodbye. */
  terminate(): void {
    this.expiries.stop();
    for (const webSocket of this.sockets.keys()) webSocket.terminate();
  }

  private *clients(): Iterable<SocketClient> {
    for (const { client } of this.sockets.keys()) if (client !== undefined) yield client;
  }

  private async upgradeOrRefuse(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { authenticator, connections } = this.dependencies;
    const { path, query } = addressOf(request);
    if (path !== '/ws') {
      endWithProblem(socket, { code: 'not_found', detail: 'WebSockets are served at /ws.' });
      return;
    }
    if (this.isDraining) {
      endWithProblem(socket, { code: 'shutting_down', detail: 'Try another instance.' });
      return;
    }
    const token = tokenOf(request, query);
    const principal = token === undefined ? E.right(undefined) : await authenticator.authenticate(token)();
    if (!connections.take()) {
      endWithProblem(socket, { code: 'too_many_connections', detail: 'Try again, or another instance.' });
      return;
    }
    const open = this.sockets.size;
    try {
      this.server.handleUpgrade(request, socket, head, (webSocket) => {
        this.sockets.set(webSocket, request.socket);
        webSocket.on('close', this.onClose);
        // From here on ws listens for errors of the socket.
        socket.removeListener('error', destroy);
        // Without a listener, a client that sends what is no frame would end the process.
        webSocket.on('error', this.onError);
        // A browser cannot read the status of a refused upgrade, but it can read a close code.
        if (E.isLeft(principal)) webSocket.close(CLOSES.invalid_token.code, CLOSES.invalid_token.reason);
        else this.welcome(webSocket, socket, principal.right);
      });
    } finally {
      // It was no handshake, or its sender is gone: nothing is open that could end.
      if (this.sockets.size === open) connections.giveBack();
    }
  }

  private welcome(webSocket: ClientSocket, socket: Duplex, principal: Principal | undefined): void {
    const connection = new WsConnection(webSocket, socket, this.settings, this.dependencies.clock);
    webSocket.connection = connection;
    webSocket.client = new SocketClient(this.dependencies, connection, this.expiries, principal);
    this.dependencies.metrics.connectionOpened('websocket');
    webSocket.on('message', onMessage);
  }

  /** Whatever has come since the last time is a sign of life, if it is only a part of a message. */
  private pingAll(): void {
    for (const [webSocket, { bytesRead }] of this.sockets) {
      if (bytesRead > webSocket.bytesReadBefore) {
        webSocket.bytesReadBefore = bytesRead;
        webSocket.ping();
      } else webSocket.terminate();
    }
    this.cancelPings = this.dependencies.clock.after(PING_INTERVAL_MS, () => this.pingAll());
  }
}

function onMessage(this: WebSocket, data: Buffer, isBinary: boolean): void {
  // Whoever was told to go may be slow to do so; what it still sends has no effect.
  if (!(this instanceof ClientSocket) || this.readyState !== WebSocket.OPEN) return;
  if (isBinary) this.connection?.close('binary_frame');
  else this.client?.onFrame(data.toString('utf8'));
}

function destroy(this: Duplex): void {
  this.destroy();
}

/** Also of a target in absolute form (RFC 9112 §3.2.2). Not by `new URL`, which throws at targets such as `//`. */
const addressOf = (request: IncomingMessage): { readonly path: string; readonly query: URLSearchParams } => {
  const target = (request.url ?? '').replace(/^https?:\/\/[^/?]*/i, '');
  const mark = target.indexOf('?');
  return mark === -1
    ? { path: target, query: new URLSearchParams() }
    : { path: target.slice(0, mark), query: new URLSearchParams(target.slice(mark + 1)) };
};

/** What is wrong with a handshake, which ws tells in the text of its error only; and the headers of the answer. */
const refusalOfHandshake = (
  { message }: Error,
  { method }: IncomingMessage,
): readonly [Problem, Readonly<Record<string, string>>] => {
  if (method !== 'GET') {
    return [{ code: 'method_not_allowed', detail: 'A WebSocket handshake is a GET.' }, { Allow: 'GET' }];
  }
  const header = /Sec-WebSocket-\w+/.exec(message)?.[0] ?? 'Upgrade';
  // RFC 6455 §4.4: a version that is not spoken here is answered with the one that is.
  return header === 'Sec-WebSocket-Version'
    ? [
        { code: 'upgrade_required', detail: `${header} must be 13.` },
        { Upgrade: 'websocket', [header]: '13' },
      ]
    : [invalidRequest(header, 'must be as RFC 6455 has it'), {}];
};
