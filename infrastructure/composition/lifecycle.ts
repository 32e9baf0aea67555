/**
 * Lifecycle: in which order the service starts and says goodbye. The only place that knows both.
 * Stopping: /ready answers 503, and after the drain delay, in which load balancers get to hear of it and everything is
 * served as before, nothing new is accepted, polls are answered, sockets are sent away and their
 * positions recorded, publishes under way are answered, and the storage is let go of last.
 */
import type { RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { PollMessages } from '../../application/poll-messages.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Sessions } from '../../application/sessions.js';
import type { TopicCatalogue } from '../../application/topic-catalogue.js';
import type { WebSocketEndpoint } from '../../interfaces/websocket/server.js';
import type { ServerConfig } from '../config/config.js';
import { Listener } from './listener.js';
import type { Storage } from './storage.js';

/** Whether the service is on its way out: /ready asks, the lifecycle says. */
export interface Draining {
  isDraining: boolean;
}

export interface Ports {
  readonly httpPort: number;
  readonly wsPort: number;
}

/** What of the drain time goes to sockets, and then to answers under way; the rest is for the end of the process. */
const SOCKETS_SHARE = 0.5;
const ANSWERS_SHARE = 0.4;

export class Lifecycle {
  private readonly listeners: Listener[] = [];

  constructor(
    private readonly handler: RequestListener,
    private readonly endpoint: WebSocketEndpoint,
    private readonly polls: PollMessages,
    private readonly sessions: Sessions,
    private readonly catalogue: TopicCatalogue,
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
    const ports = { httpPort: http.port, wsPort: ws.port };
    this.logger.info('listening', { ...ports, host: this.settings.host });
    return ports;
  }

  /** Resolves when everybody has been answered and everything is recorded. */
  async stop(): Promise<void> {
    const { drainDelayMs, drainTimeoutMs } = this.settings;
    this.draining.isDraining = true;
    this.logger.info('draining', { afterMs: drainDelayMs, withinMs: drainTimeoutMs });
    if (drainDelayMs > 0) await delay(drainDelayMs);
    for (const listener of this.listeners) listener.retire();
    this.polls.drain();
    await this.endpoint.drain(drainTimeoutMs * SOCKETS_SHARE);
    await this.sessions.stop('going_away');
    this.endpoint.terminate();
    const withinMs = drainTimeoutMs * ANSWERS_SHARE;
    await Promise.all(this.listeners.map((listener) => listener.end(withinMs)));
    this.catalogue.close();
    this.storage.close();
    this.logger.info('stopped');
  }

  private async listen(port: number): Promise<Listener> {
    const { host, readTimeoutMs } = this.settings;
    const listener = await Listener.open(
      { host, port, readTimeoutMs },
      {
        onRequest: this.handler,
        onUpgrade: (request, socket, head) => this.endpoint.upgrade(request, socket, head),
      },
    );
    this.listeners.push(listener);
    return listener;
  }
}
