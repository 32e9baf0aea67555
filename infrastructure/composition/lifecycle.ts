/**
 * Lifecycle: in which order the service starts and says goodbye. The only place that knows both.
 * Stopping: /ready answers 503, nothing new is accepted, polls are answered, sockets are sent away and their
 * positions recorded, publishes under way are answered, and the storage is let go of last.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type Koa from 'koa';
import type { PollMessages } from '../../application/poll-messages.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Sessions } from '../../application/sessions.js';
import type { WebSocketEndpoint } from '../../interfaces/websocket/server.js';
import type { ServerConfig } from '../config/config.js';
import type { Storage } from './storage.js';

/** Whether the service is on its way out: /ready asks, the lifecycle says. */
export interface Draining {
  isDraining: boolean;
}

export interface Ports {
  readonly httpPort: number;
  readonly wsPort: number;
}

/** Longer than load balancers keep an idle connection (60 s): it must be theirs to close. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
const HEADERS_TIMEOUT_MS = 10_000;
const HEADERS_MAX = 64;
/** What of the drain time goes to sockets; the rest is for what comes after them. */
const SOCKETS_SHARE = 0.5;

export class Lifecycle {
  private readonly servers: Server[] = [];

  constructor(
    private readonly app: Koa,
    private readonly endpoint: WebSocketEndpoint,
    private readonly polls: PollMessages,
    private readonly sessions: Sessions,
    private readonly storage: Storage,
    private readonly logger: Logger,
    private readonly settings: ServerConfig,
    private readonly draining: Draining,
  ) {}

  /** Listens. The storage may still be out of reach: /ready says so until it is there. */
  async start(): Promise<Ports> {
    const { httpPort, wsPort } = this.settings;
    this.sessions.start();
    const http = await this.listen(httpPort);
    const ws = wsPort === undefined || wsPort === httpPort ? http : await this.listen(wsPort);
    const ports = { httpPort: portOf(http), wsPort: portOf(ws) };
    this.logger.info('listening', { ...ports, host: this.settings.host });
    return ports;
  }

  /** Resolves when everybody has been answered and everything is recorded. */
  async stop(): Promise<void> {
    this.draining.isDraining = true;
    this.logger.info('draining', { withinMs: this.settings.drainTimeoutMs });
    const closed = this.servers.map((server) => once(server, 'close'));
    for (const server of this.servers) server.close();
    this.polls.drain();
    await this.endpoint.drain(this.settings.drainTimeoutMs * SOCKETS_SHARE);
    await this.sessions.stop('going_away');
    for (const server of this.servers) server.closeIdleConnections();
    this.endpoint.terminate();
    await Promise.all(closed);
    this.storage.close();
    this.logger.info('stopped');
  }

  private async listen(port: number): Promise<Server> {
    const handle = this.app.callback();
    const server = createServer((request, response) => {
      // A kept-alive connection would hold up the goodbye, and its next request belongs elsewhere.
      if (this.draining.isDraining) response.setHeader('Connection', 'close');
      void handle(request, response);
    });
    server.headersTimeout = HEADERS_TIMEOUT_MS;
    server.requestTimeout = this.settings.readTimeoutMs;
    server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
    server.maxHeadersCount = HEADERS_MAX;
    server.on('upgrade', (request, socket: Duplex, head: Buffer) =>
      this.endpoint.upgrade(request, socket, head),
    );
    server.listen(port, this.settings.host);
    await once(server, 'listening');
    this.servers.push(server);
    return server;
  }
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
