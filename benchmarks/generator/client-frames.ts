/**
 * Frames from client to server, masked as they must be (RFC 6455 §5.3). The mask is always the same, which no server
 * can tell, but it is not zero: a server may skip the unmasking then, and would look faster than it is.
 */
const MASK = [0x3a, 0x91, 0xc7, 0x5e] as const;
const MASKED = 0x80;
const FIN = 0x80;
const HEADER_BYTES = 2 + MASK.length;
const SHORT_MAX = 125;
const QUOTE = 0x22;

export const TEXT = 0x1;
export const CLOSE = 0x8;
export const PING = 0x9;
export const PONG = 0xa;

/** A short frame: the benchmark sends no long ones. */
export const clientFrame = (opcode: number, content: Uint8Array): Buffer => {
  if (content.length > SHORT_MAX) throw new Error(`a frame of ${content.length} bytes is not short`);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + content.length);
  writeHeader(frame, 0, opcode, content.length);
  content.forEach((byte, i) => (frame[HEADER_BYTES + i] = byte ^ MASK[i & 3]!));
  return frame;
};

const ACK_HEAD = Buffer.from('{"type":"ack","message_id":"');
const ACK_TAIL = Buffer.from('"}');
const ACK_FRAME_BYTES_MAX = HEADER_BYTES + SHORT_MAX;

/** Collects acknowledgements, one frame each as a simple client would send them, to be written together. */
export class AckFrames {
  private bytes = Buffer.allocUnsafeSlow(64 * 1024);
  private length = 0;

  /** Acknowledges the message whose id begins at `idAt` and ends before the next quote. */
  add(frame: Buffer, idAt: number): void {
    if (this.length + ACK_FRAME_BYTES_MAX > this.bytes.length) {
      this.bytes = Buffer.concat([this.bytes], this.bytes.length * 2);
    }
    const { bytes } = this;
    const start = this.length + HEADER_BYTES;
    let size = 0;
    for (const byte of ACK_HEAD) bytes[start + size] = byte ^ MASK[size++ & 3]!;
    for (let at = idAt; frame[at] !== QUOTE; at++) bytes[start + size] = frame[at]! ^ MASK[size++ & 3]!;
    for (const byte of ACK_TAIL) bytes[start + size] = byte ^ MASK[size++ & 3]!;
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
  bytes[at] = FIN | opcode;
  bytes[at + 1] = MASKED | length;
  for (let i = 0; i < MASK.length; i++) bytes[at + 2 + i] = MASK[i]!;
};
