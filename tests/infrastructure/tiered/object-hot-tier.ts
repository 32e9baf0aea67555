/**
 * ObjectHotTier: what HotTier does, written plainly: a list of message objects for each topic and a queue of all. The
 * model that the slab is compared with, and the layout that the benchmark measures it against.
 */
import type { StoredEvent } from '../../../application/ports/event-store.js';
import {
  before,
  instantOf,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../../domain/message/offset.js';
import type { Instant } from '../../../domain/time.js';
import { EventLog } from '../../../infrastructure/memory/event-log.js';
import type { HotTierSettings } from '../../../infrastructure/tiered/hot-tier.js';

interface Window {
  readonly log: EventLog<StoredEvent>;
  /** Between this place and the oldest message here there is nothing: who stands there has missed nothing. */
  start: Cursor;
  /** How often it stands in the queue. More often than it has messages: the first of those are gone already. */
  queued: number;
}

/** Below this the queue is not worth copying. */
const COMPACTION_MIN = 1_024;

/** The oldest message behind `first`, which is the place right before it. */
const after = (first: Cursor): Cursor => ({ offset: (first.offset + 1) as Offset, n: first.n + 1 });

export class ObjectHotTier {
  private readonly windows = new Map<string, Window>();
  /** The window of every message here, in the order they came: the front of it is where the oldest one is. */
  private queue: Window[] = [];
  private queueHead = 0;
  private byteCount = 0;

  constructor(private readonly settings: HotTierSettings) {}

  get bytes(): number {
    return this.byteCount;
  }

  /** Opens a window that begins behind `start`. */
  open(key: string, start: Cursor): void {
    this.close(key);
    this.windows.set(key, { log: new EventLog(start), start, queued: 0 });
  }

  close(key: string): void {
    const window = this.windows.get(key);
    if (window === undefined) return;
    this.windows.delete(key);
    this.shrink(window, () => window.log.dropOldest(window.log.size));
  }

  window(key: string): Pick<Window, 'log' | 'start'> | undefined {
    return this.windows.get(key);
  }

  /** Takes what the feed tells. Behind a hole the window begins anew: what it holds is always whole. */
  push(key: string, events: readonly Recorded<StoredEvent>[], now: Instant): void {
    for (const recorded of events) {
      const window = this.windowFor(key, recorded);
      if (window === undefined) return;
      const bytes = window.log.bytes;
      window.log.push(recorded);
      this.byteCount += window.log.bytes - bytes;
      window.queued += 1;
      this.queue.push(window);
    }
    this.evict(now);
  }

  /** Forgets what is below `below` in one window. */
  trim(key: string, below: Offset): void {
    const window = this.windows.get(key);
    if (window === undefined || below <= window.log.first.offset) return;
    this.shrink(window, () => window.log.dropBelow(below));
    window.start = window.log.first;
  }

  /** Begins a window anew behind its newest message if it holds one of `offsets`: it would not be whole without them. */
  remove(key: string, offsets: readonly Offset[]): void {
    const log = this.windows.get(key)?.log;
    const isHere = (offset: Offset): boolean => log?.after((offset - 1) as Offset, 1)[0]?.offset === offset;
    if (log !== undefined && offsets.some(isHere)) this.open(key, log.last);
  }

  /** Forgets what is too old or too much. */
  evict(now: Instant): void {
    const oldest = now - this.settings.retentionMs;
    for (; this.queueHead < this.queue.length; this.queueHead++) {
      const window = this.queue[this.queueHead];
      if (window === undefined) continue;
      const { log } = window;
      if (window.queued === log.size) {
        const isKept = this.byteCount <= this.settings.bytesMax && instantOf(log.first.offset) >= oldest;
        if (isKept) break;
        window.start = after(log.first);
        this.shrink(window, () => log.dropOldest(1));
      }
      window.queued -= 1;
    }
    if (this.queueHead < COMPACTION_MIN || this.queueHead < this.queue.length / 2) return;
    this.queue = this.queue.slice(this.queueHead);
    this.queueHead = 0;
  }

  private windowFor(key: string, recorded: Recorded<StoredEvent>): Window | undefined {
    const window = this.windows.get(key);
    if (window === undefined || recorded.n === window.log.last.n + 1) return window;
    this.open(key, before(recorded));
    return this.windows.get(key);
  }

  private shrink(window: Window, drop: () => void): void {
    const bytes = window.log.bytes;
    drop();
    this.byteCount += window.log.bytes - bytes;
  }
}
