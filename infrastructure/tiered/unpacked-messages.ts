/**
 * UnpackedMessages: those that were read from the slab last, as objects. Clients that fell behind together read the same
 * messages within moments of each other, and a topic may have thousands: the first one pays for unpacking.
 * Promises: a fixed number of places and of bytes; a message that comes to a place which is taken replaces what is
 *   there, and one for which there are no bytes left everything.
 *
 * HOT PATH, budget 30 ns (benchmarks/hot-tier.ts).
 */
import type { Recorded } from '../../domain/message/offset.js';
import type { TopicEvent } from '../../domain/topic/topic-events.js';
import { estimatedBytes } from '../memory/estimated-bytes.js';

/** Ten pages of catching up. */
const PLACES_BITS = 10;
const PLACES = 2 ** PLACES_BITS;
/** Knuth's multiplicative hash (2^32 divided by the golden ratio): neighbours in the slab get places far apart. */
const SPREAD = 0x9e3779b1;

export class UnpackedMessages {
  private readonly addresses = new Uint32Array(PLACES);
  private readonly messages: (Recorded<TopicEvent> | undefined)[] = Array.from(
    { length: PLACES },
    () => undefined,
  );
  private byteCount = 0;

  constructor(private readonly bytesMax: number) {}

  /** An estimate; see estimated-bytes.ts. */
  get bytes(): number {
    return this.byteCount;
  }

  get(address: number): Recorded<TopicEvent> | undefined {
    const place = placeOf(address);
    return this.addresses[place] === address ? this.messages[place] : undefined;
  }

  keep(address: number, message: Recorded<TopicEvent>): void {
    const bytes = estimatedBytes(message.event);
    if (bytes > this.bytesMax) return;
    if (this.byteCount + bytes > this.bytesMax) this.forgetAll();
    const place = placeOf(address);
    const replaced = this.messages[place];
    this.addresses[place] = address;
    this.messages[place] = message;
    this.byteCount += replaced === undefined ? bytes : bytes - estimatedBytes(replaced.event);
  }

  /** Where addresses get another meaning. */
  forgetAll(): void {
    if (this.byteCount === 0) return;
    this.messages.fill(undefined);
    this.byteCount = 0;
  }
}

const placeOf = (address: number): number => Math.imul(address, SPREAD) >>> (32 - PLACES_BITS);
