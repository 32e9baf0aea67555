/**
 * A WebSocket client without a library, on a TCP socket that reads only when it is told to: what a browser tab that
 * hangs looks like from the other side.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Target } from '../../support/client.js';
import { CLOSE, maskedFrame, TEXT, upgradeRequest } from './raw-frames.js';

export class RawReader {
  private constructor(private readonly socket: Socket) {}

  /** Connects and sends these frames, and has read what came up to the first frame that contains `until`. */
  static async open(
    target: Pick<Target, 'url'>,
    token: string,
    frames: readonly unknown[],
    until: string,
  ): Promise<RawReader> {
    const { hostname, port } = new URL(target.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.write(upgradeRequest(`/ws?token=${token}`));
    for (const frame of frames) socket.write(maskedFrame(TEXT, JSON.stringify(frame)));
    let seen = '';
    while (!seen.includes(until)) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      seen += chunk.toString('latin1');
    }
    socket.pause();
    return new RawReader(socket);
  }

  /** Reads on to the end, and answers a close frame as a client must. The code of the close frame, if one came. */
  async readToEnd(): Promise<number | undefined> {
    let tail: Buffer = Buffer.alloc(0);
    let code: number | undefined;
    this.socket.on('data', (chunk: Buffer) => {
      tail = Buffer.concat([tail, chunk]).subarray(-TAIL_BYTES);
      code = closeCodeAtEnd(tail);
      if (code !== undefined) this.socket.write(maskedFrame(CLOSE, Buffer.from([code >> 8, code & 0xff])));
    });
    this.socket.resume();
    if (!this.socket.closed) await once(this.socket, 'close');
    return code;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** The longest close frame: two bytes of header and 125 of payload. */
const TAIL_BYTES = 127;

/** Payloads of these tests are ASCII, so that the first byte of a close frame is nowhere but in front of one. */
const closeCodeAtEnd = (bytes: Buffer): number | undefined => {
  const at = bytes.lastIndexOf(CLOSE);
  const isWhole = at !== -1 && at + 2 < bytes.length && bytes.length === at + 2 + (bytes[at + 1] ?? 0);
  return isWhole ? bytes.readUInt16BE(at + 2) : undefined;
};
