/**
 * A WebSocket client on a plain TCP socket, made to receive much at little cost: message frames are handed on as bytes
 * where they lie, and only the few other frames are parsed.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { CLOSE, PING, PONG, TEXT, clientFrame } from './client-frames.js';
import { FrameScanner } from './frame-scanner.js';
import { RECEIVED } from './receive-buffer.js';

export interface WebSocketEvents {
  /** A message frame; its content lies between `start` and `end` and is valid until this returns. */
  readonly onMessage: (bytes: Buffer, start: number, end: number) => void;
  /** Everything that was received in one go has been handed on. */
  readonly onReceived: () => void;
  /** The server has closed, told a gap or an error. */
  readonly onFailure: (what: string) => void;
}

type Reply = Readonly<Record<string, unknown>>;

const HEAD_END = '\r\n\r\n';
/** `{"type":"message",…`: every frame names its type first, and no other type begins with an m. */
const TYPE_AT = '{"type":"'.length;
const LETTER_M = 0x6d;

export class WebSocket {
  private readonly scanner = new FrameScanner((...frame) => this.onFrame(...frame));
  private handshake: string | undefined = '';
  private onReply: ((reply: Reply) => void) | undefined;
  private isClosing = false;

  private constructor(
    private readonly socket: Socket,
    private readonly events: WebSocketEvents,
  ) {}

  static async open(port: number, token: string, events: WebSocketEvents): Promise<WebSocket> {
    const socket: Socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: RECEIVED,
        callback: (length) => {
          webSocket.onBytes(length);
          return true;
        },
      },
    });
    const webSocket = new WebSocket(socket, events);
    await once(socket, 'connect');
    socket.on('error', (error) => webSocket.fail(error.message));
    socket.on('close', () => webSocket.fail('the connection has ended'));
    const upgraded = new Promise<Reply>((resolve) => (webSocket.onReply = resolve));
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n` +
        `Authorization: Bearer ${token}\r\n\r\n`,
    );
    await upgraded;
    return webSocket;
  }

  /** Sends a frame that is answered by a frame; one at a time. */
  request(frame: Reply): Promise<Reply> {
    const replied = new Promise<Reply>((resolve) => (this.onReply = resolve));
    this.write(clientFrame(TEXT, Buffer.from(JSON.stringify(frame))));
    return replied;
  }

  write(frames: Buffer): void {
    this.socket.write(frames);
  }

  close(): void {
    this.isClosing = true;
    this.write(clientFrame(CLOSE, Buffer.from([0x03, 0xe8])));
    this.socket.end();
  }

  private onBytes(length: number): void {
    let from = 0;
    if (this.handshake !== undefined) {
      from = this.shakeHands(RECEIVED.toString('latin1', 0, length));
    }
    this.scanner.feed(RECEIVED, from, length);
    this.events.onReceived();
  }

  /** Reads the answer to the upgrade; answers where in `text` the first frame begins. */
  private shakeHands(text: string): number {
    const before = this.handshake?.length ?? 0;
    const answer = `${this.handshake ?? ''}${text}`;
    const end = answer.indexOf(HEAD_END);
    if (end === -1) {
      this.handshake = answer;
      return text.length;
    }
    this.handshake = undefined;
    if (answer.startsWith('HTTP/1.1 101')) this.reply({ type: 'upgraded' });
    else this.fail(`the upgrade was answered: ${answer}`);
    return end + HEAD_END.length - before;
  }

  private onFrame(opcode: number, bytes: Buffer, start: number, end: number): void {
    if (opcode === TEXT) {
      if (bytes[start + TYPE_AT] === LETTER_M) this.events.onMessage(bytes, start, end);
      else this.onOther(JSON.parse(bytes.toString('utf8', start, end)) as Reply);
    } else if (opcode === PING) this.write(clientFrame(PONG, bytes.subarray(start, end)));
    else if (opcode === CLOSE)
      this.fail(`closed with ${end - start < 2 ? 'no code' : bytes.readUInt16BE(start)}`);
  }

  private onOther(frame: Reply): void {
    if (frame['type'] === 'gap' || frame['type'] === 'error') this.fail(JSON.stringify(frame));
    else this.reply(frame);
  }

  private reply(reply: Reply): void {
    const { onReply } = this;
    this.onReply = undefined;
    onReply?.(reply);
  }

  private fail(what: string): void {
    if (!this.isClosing) this.events.onFailure(what);
  }
}
