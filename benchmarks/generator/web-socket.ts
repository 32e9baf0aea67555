/**
 * A WebSocket client on a plain TCP socket, made to receive much at little cost: text frames are handed on as bytes
 * where they lie. What they mean is for the client of each service to know.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { CLOSE, PING, PONG, TEXT, clientFrame } from './client-frames.js';
import { FrameScanner } from './frame-scanner.js';
import { openReceivingSocket, RECEIVED } from './receiving-socket.js';
import { headerSize, opcodeOf, serverFrameSize } from './server-frames.js';

export interface WebSocketEvents {
  /** The content of a text frame lies between `start` and `end` and is valid until this returns. */
  readonly onText: (bytes: Buffer, start: number, end: number) => void;
  /** Everything that was received in one go has been handed on. */
  readonly onReceived: () => void;
  /** The server has closed. */
  readonly onFailure: (what: string) => void;
}

export interface Endpoint {
  readonly port: number;
  readonly path: string;
  /** Whole header lines, each with its line end. */
  readonly headers: string;
}

const HEAD_END = '\r\n\r\n';

export class WebSocket {
  private readonly scanner = new FrameScanner(serverFrameSize, (bytes, at, end) =>
    this.onFrame(bytes, at, end),
  );
  private handshake: string | undefined = '';
  private isClosing = false;
  private onUpgraded: (refusal?: Error) => void = () => undefined;

  private constructor(
    private readonly socket: Socket,
    private readonly events: WebSocketEvents,
  ) {}

  static async open({ port, path, headers }: Endpoint, events: WebSocketEvents): Promise<WebSocket> {
    const socket = await openReceivingSocket(port, (length) => webSocket.onBytes(length));
    const webSocket = new WebSocket(socket, events);
    socket.on('error', (error) => webSocket.fail(error.message));
    socket.on('close', () => webSocket.fail('the connection has ended'));
    const upgraded = new Promise<void>((resolve, reject) => {
      webSocket.onUpgraded = (refusal) => (refusal === undefined ? resolve() : reject(refusal));
    });
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n` +
        `${headers}\r\n`,
    );
    await upgraded;
    return webSocket;
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
    if (answer.startsWith('HTTP/1.1 101')) this.onUpgraded();
    else this.onUpgraded(new Error(`the upgrade was answered: ${answer}`));
    return end + HEAD_END.length - before;
  }

  private onFrame(bytes: Buffer, at: number, end: number): void {
    const start = at + headerSize(bytes, at);
    switch (opcodeOf(bytes, at)) {
      case TEXT:
        this.events.onText(bytes, start, end);
        return;
      case PING:
        this.write(clientFrame(PONG, bytes.subarray(start, end)));
        return;
      case CLOSE:
        this.fail(`closed with ${end - start < 2 ? 'no code' : bytes.readUInt16BE(start)}`);
    }
  }

  private fail(what: string): void {
    if (!this.isClosing) this.events.onFailure(what);
  }
}
