/**
 * DiskWait: what was written over one connection and is to be answered once Valkey has synced it to its disk.
 * Promises: everything is answered, synced or unknown, before `answerMs` have passed since it was asked for; one WAITAOF
 *   at a time answers for all that came before it; nothing counts as synced that was written over another connection.
 *
 * WAITAOF waits for the newest write of its connection, and holds up everything behind it. With `appendfsync everysec`
 * there is one sync a second. Waiting for it without a break, whoever came just after the wait had begun would wait for
 * the next sync too, two seconds in all. So the wait is cut into slices, and who comes in the first half second still
 * joins. After that nobody may: a write right before the sync would hide from the others that they were synced.
 * Command: https://valkey.io/commands/waitaof/
 */
import type { StoreUnavailable } from '../../application/ports/event-store.js';
import type { Milliseconds } from '../../domain/time.js';
import { notSynced } from './valkey-errors.js';

/** Times are in ms, of a clock that is never set. */
export interface Unsynced {
  /** When the oldest of those who wait for it has asked. */
  readonly since: number;
  /** Called once: undefined where it is on the disk. */
  readonly answer: (failure: StoreUnavailable | undefined) => void;
}

const JOINING_MS = 500;
const SLICE_MS = 100;
/** Valkey looks for timeouts ten times a second, and its answer has to come back. */
const ROOM_MS = 150;

export class DiskWait {
  private unsynced: Unsynced[] = [];

  constructor(private readonly answerMs: Milliseconds) {}

  get isEmpty(): boolean {
    return this.unsynced.length === 0;
  }

  /** May more be written before the next WAITAOF? */
  mayJoin(now: number): boolean {
    return this.isEmpty || now - this.oldest(now) < JOINING_MS;
  }

  /** Is it too late for what was asked for at `since` to be written and synced in time? */
  isLate(since: number, now: number): boolean {
    return this.leftMs(since, now) < 2 * ROOM_MS;
  }

  /** How long the next WAITAOF may wait, when what was asked for at `since` is written before it. */
  waitMs(now: number, since: number | undefined): Milliseconds {
    const oldest = Math.min(this.oldest(now), since ?? now);
    const joiningMs = JOINING_MS - (now - oldest);
    const untilLateMs = this.leftMs(oldest, now) - ROOM_MS;
    return Math.max(1, Math.floor(joiningMs > 0 ? Math.min(SLICE_MS, untilLateMs) : untilLateMs));
  }

  /** When the connection has to be given up, so that everybody has an answer in time. */
  patienceMs(now: number, since: number | undefined): Milliseconds {
    return Math.max(1, this.leftMs(Math.min(this.oldest(now), since ?? now), now));
  }

  add(written: Unsynced): void {
    this.unsynced.push(written);
  }

  /** Takes the answer of a WAITAOF: how many disks (ours, and replicas') have it. */
  onAnswer(reply: unknown, now: number): void {
    const [disks] = reply as readonly number[];
    if (disks !== undefined && disks > 0) this.finish(undefined);
    else this.finish(notSynced(undefined), (each) => this.leftMs(each.since, now) <= 2 * ROOM_MS);
  }

  /** Nobody will ever know what became of what was written so far. */
  fail(failure: StoreUnavailable): void {
    this.finish(failure);
  }

  private finish(
    failure: StoreUnavailable | undefined,
    isMeant: (each: Unsynced) => boolean = () => true,
  ): void {
    const finished = this.unsynced.filter(isMeant);
    this.unsynced = this.unsynced.filter((each) => !isMeant(each));
    for (const { answer } of finished) answer(failure);
  }

  private oldest(now: number): number {
    return this.unsynced.reduce((oldest, { since }) => Math.min(oldest, since), now);
  }

  private leftMs(since: number, now: number): number {
    return since + this.answerMs - now;
  }
}
