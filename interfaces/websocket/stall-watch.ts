/**
 * StallWatch: finds out that a client has stopped to take what is written to it. A client that takes anything at all,
 * however little, has not: it may be slow. What counts is what the system's TCP has taken from us, which it does only
 * as the client reads: Node tells of a write when all of it is done, and one write may be megabytes.
 */
import type { Duplex } from 'node:stream';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import type { Instant, Milliseconds } from '../../domain/time.js';

/** How often it is looked at within the time that it may take: a stall is noticed at most a tenth of it too late. */
const LOOKS = 10;

export class StallWatch {
  private cancel: Cancel | undefined;
  private taken = 0;
  /** When it was last seen that something had been taken. */
  private takenAt: Instant = 0;

  constructor(
    private readonly socket: Duplex,
    private readonly clock: Clock,
    private readonly timeoutMs: Milliseconds,
    private readonly onStalled: () => void,
  ) {}

  /** From now on, unless it is already watching. */
  start(): void {
    if (this.cancel !== undefined) return;
    this.taken = takenBytes(this.socket);
    this.takenAt = this.clock.now();
    this.lookLater();
  }

  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
  }

  private lookLater(): void {
    this.cancel = this.clock.after(this.timeoutMs / LOOKS, () => this.look());
  }

  private look(): void {
    const taken = takenBytes(this.socket);
    const now = this.clock.now();
    if (taken !== this.taken) {
      this.taken = taken;
      this.takenAt = now;
    } else if (now - this.takenAt >= this.timeoutMs) {
      this.cancel = undefined;
      this.onStalled();
      return;
    }
    this.lookLater();
  }
}

/** Of a TCP socket; both numbers are libuv's. Node's own socket timeout looks at the queue in the same way. */
interface WithHandle {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null;
}

/** How many bytes the system has taken over the socket's life. Unlike `bytesWritten`, without those that still wait. */
export const takenBytes = (socket: Duplex): number => {
  const { _handle: handle } = socket as Duplex & WithHandle;
  return handle === undefined || handle === null ? 0 : handle.bytesWritten - handle.writeQueueSize;
};
