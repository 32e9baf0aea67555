import type { Milliseconds } from '../../domain/time.js';

export interface ValkeySettings {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly db: number;
  /** Put in front of every key and channel. */
  readonly keyPrefix: string;
  /** Serve although Valkey may evict or forget messages. */
  readonly allowUnsafe: boolean;
  /** How long a command may stay unanswered, in ms, before its outcome is given as unknown. */
  readonly commandTimeoutMs: Milliseconds;
}
