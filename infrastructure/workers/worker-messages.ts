/**
 * What the primary and its workers say to each other, over the channel that Node opens between them. Structured clones:
 * everything is plain data, and a NaN among the metrics stays one.
 */
import type { AuthConfig, Config, ServerConfig } from '../config/config.js';
import type { Reading } from '../observability/reading.js';

/** Where a worker listens; all of them at the same. */
export type Ports = Required<Pick<ServerConfig, 'httpPort' | 'wsPort'>>;

/** What is served at /metrics. */
export interface Exposition {
  readonly contentType: string;
  readonly body: string;
}

/** The answer to `loaded`, and the first message to a worker: everything it has to know, read and checked once by the primary. */
export interface Begin {
  readonly type: 'begin';
  readonly config: Config;
  /** Credentials that were made up are the same in all workers, and in those that replace them. */
  readonly auth: AuthConfig;
  readonly version: string;
}

export type ToWorker =
  | Begin
  /** To be answered with a reading. */
  | { readonly type: 'read'; readonly scrape: number }
  /** Answers a `scrape`. */
  | { readonly type: 'scraped'; readonly scrape: number; readonly exposition: Exposition }
  | { readonly type: 'stop' };

export type FromWorker =
  /** The first one. What is said to a process before its code is loaded is lost. */
  | { readonly type: 'loaded' }
  | { readonly type: 'listening'; readonly ports: Ports }
  /** It cannot start, and ends. */
  | { readonly type: 'failed'; readonly why: string }
  /** Answers a `read`, under the number of that one. */
  | { readonly type: 'reading'; readonly scrape: number; readonly reading: Reading }
  /** Asks for the metrics of all workers, under a number of its own. */
  | { readonly type: 'scrape'; readonly scrape: number };
