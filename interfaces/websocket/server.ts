/** The WebSocket endpoint /ws: upgrades, asks whether clients are still there, and says goodbye to them. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { either as E } from 'fp-ts';
import { WebSocket, WebSocketServer } from 'ws';
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

interface Guest {
  readonly client: SocketClient;
  isAlive: boolean;
}

export class WebSocketEndpoint {
  private readonly server: WebSocketServer;
  private readonly guests = new Map<WebSocket, Guest>();
  private cancelPings: Cancel;
  private isDraining = false;

  constructor(
    private readonly dependencies: WebSocketDependencies,
    private readonly settings: WebSocketSettings,
  ) {
    this.server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: settings.messageBytesMax + ENVELOPE_BYTES_MAX,
      maxFragments: FRAGMENTS_MAX,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    this.server.on('wsClientError', (error: Error, socket, request) =>
      endWithProblem(socket, ...refusalOfHandshake(error, request)),
    );
    this.cancelPings = dependencies.clock.after(PING_INTERVAL_MS, () => this.pingAll());
  }

  /** Handles the `upgrade` event of an HTTP server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    this.upgradeOrRefuse(request, socket, head).catch((error: unknown) => {
      this.dependencies.logger.error('upgrade_failed', { error });
      socket.destroy();
    });
  }

  /** Sends every client away within about `withinMs`, and resolves when their positions are recorded. */
  async drain(withinMs: Milliseconds): Promise<void> {
    this.isDraining = true;
    this.cancelPings();
    const guests = [...this.guests.values()];
    const intervalMs = Math.min(GOODBYE_INTERVAL_MS, withinMs / Math.max(1, guests.length));
    const { clock } = this.dependencies;
    await Promise.all(
      guests.map(
        ({ client }, i) =>
          new Promise<void>((resolve) => {
            clock.after(i * intervalMs, () => void client.leave('going_away').then(resolve));
          }),
      ),
    );
  }

  /** Cuts off whoever has not answered the goodbye. */
  terminate(): void {
    for (const webSocket of this.server.clients) webSocket.terminate();
  }

  private async upgradeOrRefuse(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { authenticator, connections, logger } = this.dependencies;
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
    socket.once('close', () => connections.giveBack());
    // A browser cannot read the status of a refused upgrade, but it can read a close code.
    this.server.handleUpgrade(request, socket, head, (webSocket) => {
      // Without a listener, a client that sends what is no frame would end the process.
      webSocket.on('error', (error: Error) => logger.debug('websocket_error', { error: error.message }));
      if (E.isLeft(principal)) webSocket.close(CLOSES.invalid_token.code, CLOSES.invalid_token.reason);
      else this.welcome(webSocket, socket, principal.right);
    });
  }

  private welcome(webSocket: WebSocket, socket: Duplex, principal: Principal | undefined): void {
    const { metrics, clock } = this.dependencies;
    const connection = new WsConnection(webSocket, socket, this.settings, clock);
    const client = new SocketClient(this.dependencies, connection, principal);
    const guest: Guest = { client, isAlive: true };
    this.guests.set(webSocket, guest);
    metrics.connectionOpened('websocket');
    webSocket.on('message', (data: Buffer, isBinary: boolean) => {
      guest.isAlive = true;
      // Whoever was told to go may be slow to do so; what it still sends has no effect.
      if (webSocket.readyState !== WebSocket.OPEN) return;
      if (isBinary) connection.close('binary_frame');
      else client.onFrame(data.toString('utf8'));
    });
    webSocket.on('pong', () => (guest.isAlive = true));
    webSocket.on('close', () => {
      this.guests.delete(webSocket);
      metrics.connectionClosed('websocket');
      void client.leave();
    });
  }

  private pingAll(): void {
    for (const [webSocket, guest] of this.guests) {
      if (guest.isAlive) {
        guest.isAlive = false;
        webSocket.ping();
      } else webSocket.terminate();
    }
    this.cancelPings = this.dependencies.clock.after(PING_INTERVAL_MS, () => this.pingAll());
  }
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
