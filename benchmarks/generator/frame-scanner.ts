/**
 * Cuts what a server sends into frames by hopping from header to header. A frame is handed on where it lies; only one
 * that came in two pieces is copied. What a frame is, is said by the function that reads its size.
 */

/** Header and content of the frame that begins at `at`; 0 where the header is not all there yet. */
export type SizeOf = (bytes: Buffer, at: number, to: number) => number;

/** The whole frame lies between `start` and `end`; valid until this returns. */
export type OnFrame = (bytes: Buffer, start: number, end: number) => void;

const PARTIAL_BYTES_MIN = 512;
const NOTHING = Buffer.alloc(0);

export class FrameScanner {
  /** The first bytes of a frame whose rest is still to come. */
  private partial = NOTHING;
  private partialLength = 0;

  constructor(
    private readonly sizeOf: SizeOf,
    private readonly onFrame: OnFrame,
  ) {}

  feed(bytes: Buffer, from: number, to: number): void {
    let at = this.partialLength > 0 ? this.complete(bytes, from, to) : from;
    while (at < to) {
      const size = this.sizeOf(bytes, at, to);
      if (size === 0 || at + size > to) {
        this.keep(bytes, at, to);
        return;
      }
      this.onFrame(bytes, at, at + size);
      at += size;
    }
  }

  /** Takes what the partial frame still lacks; answers where the next frame begins. */
  private complete(bytes: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      const known = this.sizeOf(this.partial, 0, this.partialLength);
      const missing = known === 0 ? 1 : known - this.partialLength;
      const taken = Math.min(missing, to - at);
      this.keep(bytes, at, at + taken);
      at += taken;
      const size = this.sizeOf(this.partial, 0, this.partialLength);
      if (size !== 0 && this.partialLength >= size) {
        this.partialLength = 0;
        this.onFrame(this.partial, 0, size);
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
}
