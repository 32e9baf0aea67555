/**
 * OwnChannel: one channel on the pub/sub socket beside those of the feed.
 * Promises: it is subscribed to on every new connection again, and asked for until that succeeds.
 * Does not promise: messages that were published while it was not subscribed to.
 * (The client library would subscribe again by itself, but forgets to when the socket breaks once more meanwhile.)
 */
import type { Logger } from '../../application/ports/logger.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand } from './valkey-errors.js';

export interface ChannelHandlers {
  /** DATA PLANE: must not throw and must not block. */
  readonly onMessage: (text: string) => void;
  /** At each connection anew; what was published before it was not heard. */
  readonly onSubscribed?: () => void;
}

/** A subscription that an ACL refuses is asked for again: it can be allowed while we are connected. */
const RETRY_MS = 1_000;

export class OwnChannel {
  private readonly timer: NodeJS.Timeout;
  private isSubscribed = false;
  private isSubscribing = false;
  private hasFailed = false;

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly name: string,
    private readonly handlers: ChannelHandlers,
    private readonly logger: Logger,
  ) {
    const { subscriber } = connection;
    subscriber.on('message', (channel: string, text: string) => {
      if (channel === name) handlers.onMessage(text);
    });
    subscriber.on('close', () => (this.isSubscribed = false));
    subscriber.on('ready', () => void this.subscribe());
    this.timer = setInterval(() => void this.subscribe(), RETRY_MS);
    void this.subscribe();
  }

  /** The channel ends with its connection; this only stops asking for it. */
  close(): void {
    clearInterval(this.timer);
  }

  private async subscribe(): Promise<void> {
    const { subscriber } = this.connection;
    if (this.isSubscribed || this.isSubscribing || subscriber.status !== 'ready') return;
    this.isSubscribing = true;
    try {
      await subscriber.subscribe(this.name);
      this.isSubscribed = true;
      this.hasFailed = false;
      this.handlers.onSubscribed?.();
    } catch (error) {
      if (!this.hasFailed) this.logger.warn('valkey_subscribe_failed', { channel: this.name, error });
      this.hasFailed = true;
      if (fromSentCommand(error).reason === 'timeout') this.connection.reset(subscriber);
    } finally {
      this.isSubscribing = false;
    }
  }
}
