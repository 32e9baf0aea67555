/**
 * One kept-alive HTTP connection with one request at a time, on a plain TCP socket: node:http as a client costs more
 * than the service it would measure. Understands what the services answer, and nothing more of HTTP.
 */
import type { Socket } from 'node:net';
import { openReceivingSocket, RECEIVED } from './receiving-socket.js';

/**
 * The head of the answer lies before `bodyAt`, its body between `bodyAt` and `end`; valid until this returns.
 * `status` 0: the connection has ended before the answer.
 */
export type OnAnswer = (status: number, bytes: Buffer, bodyAt: number, end: number) => void;

const HEAD_END = Buffer.from('\r\n\r\n');
const CONTENT_LENGTH = Buffer.from('Content-Length: ');
const NOTHING = Buffer.alloc(0);
const ENDED = Buffer.from('the connection has ended');
const ZERO = 0x30;
/** `HTTP/1.1 201`: where the digits of the status are. */
const STATUS_AT = 9;

export class HttpConnection {
  private rest: Buffer = NOTHING;
  private onAnswer: OnAnswer | undefined;
  private hasEnded = false;

  private constructor(private readonly socket: Socket) {}

  static async open(port: number): Promise<HttpConnection> {
    const socket = await openReceivingSocket(port, (length) =>
      connection.onBytes(RECEIVED.subarray(0, length)),
    );
    const connection = new HttpConnection(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => connection.onEnd());
    return connection;
  }

  /** `request` must not change before it is answered. */
  send(request: Buffer, onAnswer: OnAnswer): void {
    this.onAnswer = onAnswer;
    if (this.hasEnded) process.nextTick(() => this.onEnd());
    else this.socket.write(request);
  }

  close(): void {
    this.onAnswer = undefined;
    this.socket.destroy();
  }

  private onEnd(): void {
    this.hasEnded = true;
    this.answer(0, ENDED, 0, ENDED.length);
  }

  private onBytes(received: Buffer): void {
    const bytes = this.rest.length === 0 ? received : Buffer.concat([this.rest, received]);
    const headEnd = bytes.indexOf(HEAD_END);
    const bodyAt = headEnd + HEAD_END.length;
    const end = headEnd === -1 ? Infinity : bodyAt + contentLength(bytes, headEnd);
    if (bytes.length < end) {
      this.rest = Buffer.from(bytes);
      return;
    }
    this.rest = NOTHING;
    const status =
      (bytes[STATUS_AT]! - ZERO) * 100 + (bytes[STATUS_AT + 1]! - ZERO) * 10 + (bytes[STATUS_AT + 2]! - ZERO);
    this.answer(status, bytes, bodyAt, end);
  }

  private answer(...answer: Parameters<OnAnswer>): void {
    const { onAnswer } = this;
    this.onAnswer = undefined;
    onAnswer?.(...answer);
  }
}

const contentLength = (bytes: Buffer, headEnd: number): number => {
  const header = bytes.indexOf(CONTENT_LENGTH);
  if (header === -1 || header > headEnd)
    throw new Error(`an answer without Content-Length:\n${bytes.toString('latin1')}`);
  let length = 0;
  for (let at = header + CONTENT_LENGTH.length; bytes[at]! >= ZERO; at++)
    length = length * 10 + bytes[at]! - ZERO;
  return length;
};
