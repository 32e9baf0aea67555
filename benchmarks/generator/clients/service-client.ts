/**
 * How the generator talks to one kind of service: the only part of it that differs between the proxy and its peers.
 * What a service cannot do is undefined, and the scenarios that need it are not run against it.
 */
import type { Job } from '../job.js';
import type { RequestTemplate } from '../request-template.js';
import type { TopicSet } from '../topic-set.js';

export interface ServiceClient {
  /** The most messages that one request may have. */
  readonly bulkMax: number;
  /** Opens a producer by the service's ordinary way. Its requests are answered when the service has taken them. */
  readonly openLane: (job: Job, settings: LaneSettings) => Promise<Lane>;
  /** The same by WebSocket. */
  readonly openSocketLane?: (job: Job, settings: LaneSettings) => Promise<Lane>;
  /** Opens a socket that receives. */
  readonly openSocket: OpenReceiver;
  /** Begins to poll: every answer is followed by the next request. */
  readonly openPoller?: OpenReceiver;
}

export type OpenReceiver = (
  job: Job,
  settings: ReceiverSettings,
  events: ReceiverEvents,
) => Promise<Receiver>;

export interface LaneSettings {
  readonly topics: TopicSet;
  /** Messages in one request. */
  readonly batch: number;
}

/** A producer: one connection with one request at a time. */
export interface Lane {
  /** What the next `send` sends. Must not change before it is answered. */
  readonly template: RequestTemplate;
  send(onAnswer: (failure: string | undefined) => void): void;
  close(): void;
}

export interface ReceiverSettings {
  /** Every receiver is a user of its own. */
  readonly user: number;
  readonly topic: string;
  /** At-least-once, under a name that it comes back with; every message is acknowledged. */
  readonly isDurable: boolean;
  readonly from: 'latest' | 'earliest';
}

export interface ReceiverEvents {
  /** A message with one payload between `start` and `end`, valid until this returns. */
  readonly onMessage: (bytes: Buffer, start: number, end: number) => void;
  /** Everything that was received in one go has been handed on. */
  readonly onReceived: () => void;
  /** The server has closed, told a gap or an error. */
  readonly onFailure: (what: string) => void;
}

export interface Receiver {
  /** Resolves once the service has read everything that was sent to it before, acknowledgements as well. */
  ping(): Promise<void>;
  close(): void;
}
