/**
 * Cuts what a server sends into WebSocket frames (RFC 6455 §5.2) by hopping from header to header. A frame is handed
 * on where it lies; only one that came in two pieces is copied.
 */

/** `start` and `end` enclose the frame's content; valid until it returns. */
export type OnFrame = (opcode: number, bytes: Buffer, start: number, end: number) => void;

const LENGTH_BITS = 0x7f;
const OPCODE_BITS = 0x0f;
const LENGTH_IN_16_BITS = 126;
const LENGTH_IN_64_BITS = 127;
const PARTIAL_BYTES_MIN = 512;

export class FrameScanner {
  /** The first bytes of a frame whose rest is still to come. */
  private partial = Buffer.alloc(0);
  private partialLength = 0;

  constructor(private readonly onFrame: OnFrame) {}

  feed(bytes: Buffer, from: number, to: number): void {
    let at = this.partialLength > 0 ? this.complete(bytes, from, to) : from;
    while (at < to) {
      const size = frameSize(bytes, at, to);
      if (size === 0 || at + size > to) {
        this.keep(bytes, at, to);
        return;
      }
      this.emit(bytes, at, size);
      at += size;
    }
  }

  /** Takes what the partial frame still lacks; answers where the next frame begins. */
  private complete(bytes: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      const known = frameSize(this.partial, 0, this.partialLength);
      const missing = known === 0 ? 1 : known - this.partialLength;
      const taken = Math.min(missing, to - at);
      this.keep(bytes, at, at + taken);
      at += taken;
      const size = frameSize(this.partial, 0, this.partialLength);
      if (size !== 0 && this.partialLength >= size) {
        this.partialLength = 0;
        this.emit(this.partial, 0, size);
        return at;
      }
    }
    return at;
  }

  private keep(bytes: Buffer, from: number, to: number): void {
    const length = this.partialLength + to - from;
    if (length > this.partial.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(PARTIAL_BYTES_MIN, length * 2));
      this.partial.copy(larger, 0, 0, this.partialLength);
      this.partial = larger;
    }
    bytes.copy(this.partial, this.partialLength, from, to);
    this.partialLength = length;
  }

  private emit(bytes: Buffer, at: number, size: number): void {
    this.onFrame(bytes[at]! & OPCODE_BITS, bytes, at + headerSize(bytes[at + 1]!), at + size);
  }
}

const headerSize = (second: number): number => {
  const length = second & LENGTH_BITS;
  return length < LENGTH_IN_16_BITS ? 2 : length === LENGTH_IN_16_BITS ? 4 : 10;
};

/** Header and content; 0 where the header is not all there yet. */
const frameSize = (bytes: Buffer, at: number, to: number): number => {
  if (to - at < 2) return 0;
  const second = bytes[at + 1]!;
  const header = headerSize(second);
  if (to - at < header) return 0;
  switch (second & LENGTH_BITS) {
    case LENGTH_IN_16_BITS:
      return header + bytes.readUInt16BE(at + 2);
    case LENGTH_IN_64_BITS:
      return header + bytes.readUIntBE(at + 4, 6);
    default:
      return header + (second & LENGTH_BITS);
  }
};
