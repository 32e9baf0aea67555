/**
 * Lines to standard output, behind the caller's back. The streams that Node and pino have either block the process
 * while nobody reads its output, or at its end wait for a full disk to become empty. This one does neither:
 * lines wait up to a bound, then they are dropped, and how many were is told once there is room again.
 */
import { write, writeSync } from 'node:fs';
import type { DestinationStream } from 'pino';

/** Some thousand lines. */
const WAITING_CHARACTERS_MAX = 1024 * 1024;

/** How long to leave a reader alone who could not take any more. */
const RETRY_MS = 100;

export class LineWriter implements DestinationStream {
  private waiting = '';
  private isWriting = false;
  private dropped = 0;

  constructor(private readonly fd: number) {}

  /** Takes one line with its line break; never blocks, never throws. */
  write(line: string): void {
    if (this.waiting.length + line.length > WAITING_CHARACTERS_MAX) {
      this.dropped += 1;
      return;
    }
    this.waiting += line;
    if (!this.isWriting) this.writeWaiting();
  }

  /** For the end of the process: tries once, because an end that waits for a reader may never come. */
  flush(): void {
    const bytes = this.takeWaiting();
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(this.fd, bytes, written);
    } catch {
      // Nobody is reading, or the disk is full: there is nowhere left to say so.
    }
  }

  private writeWaiting(): void {
    const bytes = this.takeWaiting();
    this.isWriting = bytes.length > 0;
    if (this.isWriting) this.writeBytes(bytes);
  }

  private writeBytes(bytes: Buffer): void {
    write(this.fd, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.writeBytes(bytes), RETRY_MS).unref();
      else if (error === null && written < bytes.length) this.writeBytes(bytes.subarray(written));
      else this.writeWaiting();
    });
  }

  private takeWaiting(): Buffer {
    const lost = this.dropped > 0 ? `${JSON.stringify(linesDropped(this.dropped))}\n` : '';
    const bytes = Buffer.from(lost + this.waiting);
    this.waiting = '';
    this.dropped = 0;
    return bytes;
  }
}

/** The one writer of this process, flushed when the process ends. */
export const standardOutput = (): DestinationStream => {
  if (shared === undefined) {
    const writer = new LineWriter(1);
    process.once('exit', () => writer.flush());
    shared = writer;
  }
  return shared;
};

let shared: LineWriter | undefined;

const linesDropped = (count: number): object => ({
  level: 'warn',
  time: new Date().toISOString(),
  count,
  event: 'log_lines_dropped',
});
