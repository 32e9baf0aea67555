/**
 * ClientConnection over one WebSocket. HOT PATH: message frames are finished bytes and go straight to the TCP socket;
 * everything else goes through ws, which writes to the same socket in the same order.
 * Whatever a client is given in one tick, of however many topics, leaves in one write: the socket is corked by the first
 * of it and uncorked when the tick is over. Node keeps what is held, so that its order, `writableLength` and what ws
 * writes meanwhile are as they would be without; only who cuts the connection off throws it away.
 * At its bounds: with `bufferedBytesMax` waiting to be written it is `full`; a full connection of which the client takes
 * nothing for `writeTimeoutMs` is closed as a slow consumer, and cut off soon afterwards; a client that floods us with
 * frames is not read while it does not read our answers.
 * An idle one holds no listener of its own: what is needed at a bound is made there.
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
import { firstDeliveryFrames, messageFrames, textFrame } from './message-frames.js';
import { StallWatch } from './stall-watch.js';

export interface WsConnectionSettings {
  readonly bufferedBytesMax: number;
  /** 0: a client may be as slow as it likes. */
  readonly writeTimeoutMs: Milliseconds;
}

/** How long a slow consumer may take to read what is there and the close frame behind it, and to answer that. */
export const SLOW_GRACE_MS: Milliseconds = 5_000;

/** As much as this is not worth holding, unless something is held already: a write of its own costs little beside it. */
const LARGE_BYTES = 4 * 1024;

/**
 * So many connections that are given one thing each are written to together. The first of them waits for the last: with
 * more of them it is the waiting that is noticed, with less the caches.
 */
const GROUP = 8;

/** Who waits for room on a connection. */
export interface Writer {
  onWritable(): void;
}

export class WsConnection implements ClientConnection {
  /** Told when the connection has room again after `full`. */
  writer: Writer | undefined = undefined;
  private hearsDrain = false;
  /** Corked until the tick is over. */
  private isHolding = false;
  /** Made when the connection is full for the first time, which most never are. */
  private stallWatch: StallWatch | undefined = undefined;
  private cancelCut: Cancel | undefined = undefined;

  constructor(
    private readonly webSocket: WebSocket,
    private readonly socket: Duplex,
    private readonly settings: WsConnectionSettings,
    private readonly clock: Clock,
  ) {}

  deliver(batch: MessageBatch, attempt: number, isAlone = false): Written {
    return this.write(attempt === 1 ? firstDeliveryFrames(batch) : messageFrames(batch, attempt), isAlone);
  }

  tellGap(gap: Gap): Written {
    return this.write(textFrame(gapFrame(gap)));
  }

  /** Answers a frame. */
  reply(text: string): void {
    if (this.write(textFrame(text)) === 'full') this.webSocket.pause();
  }

  close(reason: CloseReason | CloseName): void {
    const { code, reason: text } = CLOSES[reason];
    this.webSocket.close(code, text);
    // Whoever says goodbye may cut the connection off in this tick, and what is held would go with it.
    this.letGo();
  }

  private write(frames: Uint8Array, isAlone = false): Written {
    if (this.webSocket.readyState !== WebSocket.OPEN) return 'closed';
    // What waits for the client to read is gathered in any case.
    if (!this.isHolding && frames.length < LARGE_BYTES && this.socket.writableLength === 0)
      this.hold(isAlone);
    if (this.socket.write(frames)) return 'sent';
    // It is more than is worth holding, and only the system can say whether it is too much.
    this.letGo();
    if (this.socket.writableLength <= this.settings.bufferedBytesMax) return 'sent';
    this.hearDrain();
    if (this.settings.writeTimeoutMs > 0) this.watch();
    return 'full';
  }

  private hold(isAlone: boolean): void {
    this.isHolding = true;
    this.socket.cork();
    held.add(this, isAlone);
  }

  /** Writes what is held. */
  letGo(): void {
    if (!this.isHolding) return;
    this.isHolding = false;
    this.socket.uncork();
  }

  private hearDrain(): void {
    if (this.hearsDrain) return;
    this.hearsDrain = true;
    this.socket.on('drain', () => this.onDrain());
  }

  private watch(): void {
    this.stallWatch ??= this.makeStallWatch();
    this.stallWatch.start();
  }

  private makeStallWatch(): StallWatch {
    const { socket, clock, settings } = this;
    const stallWatch = new StallWatch(socket, clock, settings.writeTimeoutMs, () => this.onStalled());
    this.webSocket.on('close', () => {
      stallWatch.stop();
      this.cancelCut?.();
    });
    return stallWatch;
  }

  private onDrain(): void {
    this.stallWatch?.stop();
    if (this.webSocket.isPaused) this.webSocket.resume();
    // One that is being closed has room too, but nothing is written to it any more.
    if (this.webSocket.readyState === WebSocket.OPEN) this.writer?.onWritable();
  }

  /**
   * The close frame waits behind everything that the client does not read. One that reads again finds out why it was
   * closed; any other is cut off, and until then no more is kept for it than there is.
   */
  private onStalled(): void {
    this.close('slow_consumer');
    // Its answer to the close frame is to be read.
    if (this.webSocket.isPaused) this.webSocket.resume();
    this.cancelCut = this.clock.after(SLOW_GRACE_MS, () => this.webSocket.terminate());
  }
}

/** The connections that hold something. One that lets go meanwhile, which it does at about 16 KiB, may be here again. */
class HeldConnections {
  private connections: WsConnection[] = [];
  /** Those that are likely to be given nothing more in this tick. */
  private alone: WsConnection[] = [];
  private isTickAwaited = false;

  add(connection: WsConnection, isAlone: boolean): void {
    if (!this.isTickAwaited) this.awaitTick();
    if (!isAlone) this.connections.push(connection);
    else if (this.alone.push(connection) === GROUP) this.letAloneGo();
  }

  /** Once all promises of the tick have been settled: `nextTick` by itself may come before them. */
  private awaitTick(): void {
    this.isTickAwaited = true;
    queueMicrotask(() => process.nextTick(() => this.onTickOver()));
  }

  private onTickOver(): void {
    this.isTickAwaited = false;
    this.letAloneGo();
    const { connections } = this;
    this.connections = [];
    for (const connection of connections) connection.letGo();
  }

  private letAloneGo(): void {
    const { alone } = this;
    this.alone = [];
    for (const connection of alone) connection.letGo();
  }
}

/** The tick is the process's, and so is this. */
const held = new HeldConnections();
