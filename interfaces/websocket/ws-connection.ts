/**
 * ClientConnection over one WebSocket. HOT PATH: message frames are finished bytes and go straight to the TCP socket;
 * everything else goes through ws, which writes to the same socket in the same order.
 * At its bounds: with `bufferedBytesMax` waiting to be written it is `full`; a reader that takes nothing for
 * `writeTimeoutMs` is closed as a slow consumer; a client that floods us with frames is not read while it does not
 * read our answers.
 */
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import type {
  ClientConnection,
  CloseReason,
  Gap,
  MessageBatch,
  Written,
} from '../../application/ports/client-connection.js';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import type { Milliseconds } from '../../domain/time.js';
import { gapFrame } from '../codecs/server-frame.js';
import { CLOSES, type CloseName } from './close-codes.js';
import { firstDeliveryFrames, messageFrames, textFrames } from './message-frames.js';

export interface WsConnectionSettings {
  readonly bufferedBytesMax: number;
  /** 0: a client may be as slow as it likes. */
  readonly writeTimeoutMs: Milliseconds;
}

export class WsConnection implements ClientConnection {
  /** Called when the connection has room again after `full`. */
  onWritable: (() => void) | undefined;
  private cancelSlow: Cancel | undefined;

  constructor(
    private readonly webSocket: WebSocket,
    private readonly socket: Duplex,
    private readonly settings: WsConnectionSettings,
    private readonly clock: Clock,
  ) {
    socket.on('drain', () => this.onDrain());
    webSocket.on('close', () => this.cancelSlow?.());
  }

  deliver(batch: MessageBatch, attempt: number): Written {
    return this.write(attempt === 1 ? firstDeliveryFrames(batch) : messageFrames(batch, attempt));
  }

  tellGap(gap: Gap): Written {
    return this.write(textFrames([gapFrame(gap)]));
  }

  /** Answers a frame. */
  reply(text: string): void {
    if (this.write(textFrames([text])) === 'full') this.webSocket.pause();
  }

  close(reason: CloseReason | CloseName): void {
    const { code, reason: text } = CLOSES[reason];
    this.webSocket.close(code, text);
  }

  private write(frames: Uint8Array): Written {
    if (this.webSocket.readyState !== WebSocket.OPEN) return 'closed';
    const isDrained = this.socket.write(frames);
    if (isDrained || this.socket.writableLength <= this.settings.bufferedBytesMax) return 'sent';
    if (this.settings.writeTimeoutMs > 0) {
      this.cancelSlow ??= this.clock.after(this.settings.writeTimeoutMs, () => this.onSlow());
    }
    return 'full';
  }

  private onDrain(): void {
    this.cancelSlow?.();
    this.cancelSlow = undefined;
    if (this.webSocket.isPaused) this.webSocket.resume();
    this.onWritable?.();
  }

  /** The close frame would wait behind everything that the client does not read: cut it off right after. */
  private onSlow(): void {
    this.close('slow_consumer');
    this.webSocket.terminate();
  }
}
