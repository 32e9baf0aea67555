/**
 * Frames from client to server, masked as they must be (RFC 6455 §5.3). The mask is always the same, which no server
 * can tell, but it is not zero: a server may skip the unmasking then, and would look faster than it is.
 */
const MASK = [0x3a, 0x91, 0xc7, 0x5e] as const;
const MASKED = 0x80;
const FIN = 0x80;
const LENGTH_IN_16_BITS = 126;
const SHORT_MAX = 125;
const MEDIUM_MAX = 0xffff;
const SHORT_HEADER_BYTES = 2 + MASK.length;

export const TEXT = 0x1;
export const CLOSE = 0x8;
export const PING = 0x9;
export const PONG = 0xa;

export const clientFrame = (opcode: number, content: Uint8Array): Buffer => {
  if (content.length > MEDIUM_MAX) throw new Error(`a frame of ${content.length} bytes is too long`);
  const header = content.length > SHORT_MAX ? SHORT_HEADER_BYTES + 2 : SHORT_HEADER_BYTES;
  const frame = Buffer.allocUnsafe(header + content.length);
  writeHeader(frame, 0, opcode, content.length);
  for (let i = 0; i < content.length; i++) frame[header + i] = content[i]! ^ MASK[i & 3]!;
  return frame;
};

export const textFrame = (text: string): Buffer => clientFrame(TEXT, Buffer.from(text));

/**
 * Collects acknowledgements, one frame each as a simple client would send them, to be written together. Each is the
 * same text around an id that is copied from the message.
 */
export class AckFrames {
  private bytes = Buffer.allocUnsafeSlow(64 * 1024);
  private length = 0;
  private readonly head: Buffer;
  private readonly tail: Buffer;

  constructor(head: string, tail: string) {
    this.head = Buffer.from(head);
    this.tail = Buffer.from(tail);
  }

  /** Acknowledges the message whose id begins at `idAt` and ends before the next `terminator`. */
  add(frame: Buffer, idAt: number, terminator: number): void {
    if (this.length + SHORT_HEADER_BYTES + SHORT_MAX > this.bytes.length) {
      this.bytes = Buffer.concat([this.bytes], this.bytes.length * 2);
    }
    const { bytes } = this;
    const start = this.length + SHORT_HEADER_BYTES;
    let size = 0;
    for (const byte of this.head) bytes[start + size] = byte ^ MASK[size++ & 3]!;
    for (let at = idAt; frame[at] !== terminator; at++) bytes[start + size] = frame[at]! ^ MASK[size++ & 3]!;
    for (const byte of this.tail) bytes[start + size] = byte ^ MASK[size++ & 3]!;
    writeHeader(bytes, this.length, TEXT, size);
    this.length = start + size;
  }

  /** A copy of what has been collected, which begins anew; undefined where there is nothing. */
  take(): Buffer | undefined {
    if (this.length === 0) return undefined;
    const taken = Buffer.from(this.bytes.subarray(0, this.length));
    this.length = 0;
    return taken;
  }
}

const writeHeader = (bytes: Buffer, at: number, opcode: number, length: number): void => {
  const isShort = length <= SHORT_MAX;
  bytes[at] = FIN | opcode;
  bytes[at + 1] = MASKED | (isShort ? length : LENGTH_IN_16_BITS);
  if (!isShort) bytes.writeUInt16BE(length, at + 2);
  const maskAt = at + (isShort ? 2 : 4);
  for (let i = 0; i < MASK.length; i++) bytes[maskAt + i] = MASK[i]!;
};
