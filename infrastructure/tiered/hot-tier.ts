/**
 * HotTier: the newest messages of the topics that this instance follows, so that catching up within the window never
 * touches Valkey. Each topic's window is contiguous; all of them together are bounded by age and by bytes, and the
 * oldest message of all goes first.
 */
import type { StoredEvent } from '../../application/ports/event-store.js';
import { before, instantOf, type Cursor, type Recorded } from '../../domain/message/offset.js';
import type { Instant, Milliseconds } from '../../domain/time.js';
import { EventLog } from '../memory/event-log.js';

export interface HotTierSettings {
  readonly retentionMs: Milliseconds;
  readonly bytesMax: number;
}

/** Below this the queue is not worth copying. */
const COMPACTION_MIN = 1_024;

export class HotTier {
  private readonly windows = new Map<string, EventLog<StoredEvent>>();
  /** The window of every message here, in the order they came: the front of it is where the oldest one is. */
  private queue: EventLog<StoredEvent>[] = [];
  private queueHead = 0;
  private byteCount = 0;

  constructor(private readonly settings: HotTierSettings) {}

  get bytes(): number {
    return this.byteCount;
  }

  /** Opens a window that begins behind `start`. */
  open(key: string, start: Cursor): void {
    this.close(key);
    this.windows.set(key, new EventLog(start));
  }

  close(key: string): void {
    const window = this.windows.get(key);
    if (window === undefined) return;
    this.windows.delete(key);
    this.shrink(window, window.size);
  }

  window(key: string): EventLog<StoredEvent> | undefined {
    return this.windows.get(key);
  }

  /** Takes what the feed tells. Behind a hole the window begins anew: what it holds is always whole. */
  push(key: string, events: readonly Recorded<StoredEvent>[], now: Instant): void {
    for (const recorded of events) {
      const window = this.windowFor(key, recorded);
      if (window === undefined) return;
      const bytes = window.bytes;
      window.push(recorded);
      this.byteCount += window.bytes - bytes;
      this.queue.push(window);
    }
    this.evict(now);
  }

  /** Forgets what is too old or too much. */
  evict(now: Instant): void {
    const oldest = now - this.settings.retentionMs;
    for (; this.queueHead < this.queue.length; this.queueHead++) {
      const window = this.queue[this.queueHead];
      const isEmpty = window === undefined || window.size === 0;
      if (!isEmpty && this.byteCount <= this.settings.bytesMax && instantOf(window.first.offset) >= oldest)
        break;
      if (!isEmpty) this.shrink(window, 1);
    }
    if (this.queueHead < COMPACTION_MIN || this.queueHead < this.queue.length / 2) return;
    this.queue = this.queue.slice(this.queueHead);
    this.queueHead = 0;
  }

  private windowFor(key: string, recorded: Recorded<StoredEvent>): EventLog<StoredEvent> | undefined {
    const window = this.windows.get(key);
    if (window === undefined || recorded.n === window.last.n + 1) return window;
    this.open(key, before(recorded));
    return this.windows.get(key);
  }

  private shrink(window: EventLog<StoredEvent>, count: number): void {
    const bytes = window.bytes;
    window.dropOldest(count);
    this.byteCount += window.bytes - bytes;
  }
}
