/**
 * Slab: messages of all topics as bytes, one behind the other in the order they came, in a few large chunks. To the
 * garbage collector a chunk is one object, however many messages are in it, so what is held here costs it nothing.
 *
 *   chunk   | offset owner sizes | payload meta | offset owner sizes | payload meta | ...           | free |
 *            '-- 24-byte header                   '-- on a boundary of 8 bytes
 *
 * A large message stays the object that it is, with an empty entry in its chunk: to copy it out again for every page in
 * which it is looked at would cost more than the few large ones that there is room for cost the garbage collector.
 *
 * Promises: a message keeps its address, one 32-bit number, for as long as it is alive; a chunk goes as soon as nothing
 *   in it is alive any more, and with it every address in it; one empty chunk is kept for the next to be needed.
 * Does not promise: which messages are alive. Their owner says so (`release`), each once.
 *
 * HOT PATH, budget 0.5 µs per write and 0.4 µs per read of a message of 200 bytes (benchmarks/hot-tier.ts).
 */
import type { Offset, Recorded } from '../../domain/message/offset.js';
import type { TopicEvent } from '../../domain/topic/topic-events.js';
import { estimatedBytes } from '../memory/estimated-bytes.js';
import type { MemoryHeld } from './memory-held.js';
import { isAscii, metaOf, pack, packedBytes, payloadOf, unpack, type Packed } from './packed-message.js';
import type { UnpackedMessages } from './unpacked-messages.js';

interface Chunk {
  readonly id: number;
  /** Three views of the same memory. */
  readonly bytes: Buffer;
  readonly offsets: Float64Array;
  readonly words: Uint32Array;
  /** Up to here it is written, in units. */
  used: number;
  /** Up to here nothing is alive, in units: where the front of the slab is, in its oldest chunk. */
  passed: number;
  alive: number;
}

/** A large message, and what it takes. */
interface Whole {
  readonly message: Recorded<TopicEvent>;
  readonly bytes: number;
}

/** No message is here. */
export const NOWHERE = -1;

/** Offsets are 64-bit numbers, and must lie on boundaries of their size. An address counts in these units. */
const UNIT_BYTES = 8;
const HEADER_UNITS = 3;
const WORDS_PER_UNIT = 2;
/** Where in the header, in words of 32 bits, things are. */
const OWNER = 2;
const PAYLOAD_CHARACTERS = 3;
const META_CHARACTERS = 4;
const WIDTH = 5;

/** Whole pages of memory, and large enough that a tier of a usual size has hundreds of chunks, not thousands. */
const CHUNK_BYTES_MAX = 1024 * 1024;
const CHUNK_BYTES_MIN = 4 * 1024;
/** The oldest messages go a chunk at a time: what is held then falls by one in this many. */
const CHUNKS_MIN = 64;
/** Longer texts are large. 16,000 of them fill a tier of the usual size, and are collected in a millisecond or two. */
const PACKED_CHARACTERS_MAX = 16 * 1024;
/** In small chunks, so that little is left empty where the next message has no room. */
const PACKED_CHARACTERS_SHARE = 8;
/** What 32-bit addresses reach. */
export const SLAB_BYTES_MAX = 2 ** 32 * UNIT_BYTES;

export class Slab {
  private readonly chunkBytes: number;
  private readonly chunkUnits: number;
  private readonly chunkShift: number;
  private readonly packedCharactersMax: number;
  /** By id, which is what an address begins with. */
  private readonly chunks: (Chunk | undefined)[] = [];
  private readonly freeIds: number[] = [];
  /** Those with messages, the oldest first. New messages go to the last. */
  private readonly inUse: Chunk[] = [];
  private spare: Chunk | undefined;
  /** The large messages, by address. */
  private readonly whole = new Map<number, Whole>();
  /** What was written and what was looked at last. Filled anew for every message: one object less for each. */
  private readonly packed: Packed = { payloadCharacters: 0, metaCharacters: 0, width: 1 };
  private readonly found: Packed = { payloadCharacters: 0, metaCharacters: 0, width: 1 };

  constructor(
    private readonly held: MemoryHeld,
    private readonly unpacked: UnpackedMessages,
    bytesMax: number,
  ) {
    this.chunkShift = Math.floor(
      Math.log2(clamp(bytesMax / CHUNKS_MIN, CHUNK_BYTES_MIN, CHUNK_BYTES_MAX) / UNIT_BYTES),
    );
    this.chunkUnits = 2 ** this.chunkShift;
    this.chunkBytes = this.chunkUnits * UNIT_BYTES;
    this.packedCharactersMax = Math.min(PACKED_CHARACTERS_MAX, this.chunkBytes / PACKED_CHARACTERS_SHARE);
  }

  /** Writes a message behind all others and answers its address; NOWHERE if it needs another chunk (`grow`) for that. */
  write(owner: number, message: Recorded<TopicEvent>): number {
    const chunk = this.inUse[this.inUse.length - 1];
    if (chunk === undefined) return NOWHERE;
    const payload = payloadOf(message.event);
    const meta = metaOf(message.event);
    const isLarge = payload.length + meta.length > this.packedCharactersMax;
    const { bytes, offsets, words, used } = chunk;
    const { packed } = this;
    const hasRoom = isLarge
      ? pack(bytes, textStart(used), '', '', packed)
      : pack(bytes, textStart(used), payload, meta, packed);
    if (!hasRoom) return NOWHERE;
    offsets[used] = message.offset;
    const header = used * WORDS_PER_UNIT;
    words[header + OWNER] = owner;
    words[header + PAYLOAD_CHARACTERS] = packed.payloadCharacters;
    words[header + META_CHARACTERS] = packed.metaCharacters;
    words[header + WIDTH] = packed.width;
    chunk.used += recordUnits(packed);
    chunk.alive += 1;
    const address = this.addressOf(chunk, used);
    if (isLarge) this.keepWhole(address, message, payload);
    return address;
  }

  /** How many bytes `grow` would take. */
  growth(): number {
    return this.spare === undefined ? this.chunkBytes : 0;
  }

  /** Begins another chunk, in which any message has room. */
  grow(): void {
    this.inUse.push(this.spare ?? this.allocate());
    this.spare = undefined;
  }

  read(address: number, n: number): Recorded<TopicEvent> {
    const known = this.unpacked.get(address) ?? this.whole.get(address)?.message;
    if (known !== undefined) return known;
    const chunk = this.chunkAt(address);
    const unit = this.unitOf(address);
    const event = unpack(chunk.bytes, textStart(unit), this.packedAt(chunk, unit));
    const message = { offset: chunk.offsets[unit] as Offset, n, event };
    this.unpacked.keep(address, message);
    return message;
  }

  offsetAt(address: number): Offset {
    return this.chunkAt(address).offsets[this.unitOf(address)] as Offset;
  }

  ownerAt(address: number): number {
    return this.chunkAt(address).words[this.unitOf(address) * WORDS_PER_UNIT + OWNER] ?? 0;
  }

  /** The oldest message, alive or not; NOWHERE if there is none. */
  front(): number {
    const chunk = this.inUse[0];
    return chunk === undefined ? NOWHERE : this.addressOf(chunk, chunk.passed);
  }

  /** The message at the front is not alive: the next one is the front. */
  passFront(): void {
    const chunk = this.inUse[0];
    if (chunk === undefined) return;
    chunk.passed += recordUnits(this.packedAt(chunk, chunk.passed));
  }

  /** The message at `address` is not alive any more. */
  release(address: number): void {
    if (this.whole.size > 0) this.forgetWhole(address);
    const chunk = this.chunkAt(address);
    chunk.alive -= 1;
    if (chunk.alive === 0) this.retire(chunk);
  }

  /** Gives back the empty chunk. Answers whether there was one. */
  giveBack(): boolean {
    if (this.spare === undefined) return false;
    this.free(this.spare);
    this.spare = undefined;
    return true;
  }

  private keepWhole(address: number, message: Recorded<TopicEvent>, payload: string): void {
    // The estimate takes every text for one of a byte a character.
    const bytes = estimatedBytes(message.event) + (isAscii(payload) ? 0 : payload.length);
    this.whole.set(address, { message, bytes });
    this.held.bytes += bytes;
  }

  private forgetWhole(address: number): void {
    const known = this.whole.get(address);
    if (known === undefined) return;
    this.whole.delete(address);
    this.held.bytes -= known.bytes;
  }

  private packedAt({ words }: Chunk, unit: number): Packed {
    const header = unit * WORDS_PER_UNIT;
    const { found } = this;
    found.payloadCharacters = words[header + PAYLOAD_CHARACTERS] ?? 0;
    found.metaCharacters = words[header + META_CHARACTERS] ?? 0;
    found.width = words[header + WIDTH] ?? 0;
    return found;
  }

  private allocate(): Chunk {
    const id = this.freeIds.pop() ?? this.chunks.length;
    // Not filled with zeros: nothing is read that was not written.
    const buffer = Buffer.allocUnsafeSlow(this.chunkBytes);
    const chunk: Chunk = {
      id,
      bytes: buffer,
      offsets: new Float64Array(buffer.buffer),
      words: new Uint32Array(buffer.buffer),
      used: 0,
      passed: 0,
      alive: 0,
    };
    this.chunks[id] = chunk;
    this.held.bytes += this.chunkBytes;
    return chunk;
  }

  private retire(chunk: Chunk): void {
    // There are hundreds of chunks, and each is retired once for thousands of messages.
    this.inUse.splice(this.inUse.indexOf(chunk), 1);
    // The same addresses will be those of other messages.
    this.unpacked.forgetAll();
    chunk.used = 0;
    chunk.passed = 0;
    if (this.spare === undefined) this.spare = chunk;
    else this.free(chunk);
  }

  private free(chunk: Chunk): void {
    this.chunks[chunk.id] = undefined;
    this.freeIds.push(chunk.id);
    this.held.bytes -= this.chunkBytes;
  }

  private addressOf(chunk: Chunk, unit: number): number {
    return chunk.id * this.chunkUnits + unit;
  }

  private unitOf(address: number): number {
    return address & (this.chunkUnits - 1);
  }

  private chunkAt(address: number): Chunk {
    const chunk = this.chunks[address >>> this.chunkShift];
    if (chunk === undefined) throw new Error(`nothing is at ${address}`);
    return chunk;
  }
}

const textStart = (unit: number): number => (unit + HEADER_UNITS) * UNIT_BYTES;

const recordUnits = (packed: Packed): number => HEADER_UNITS + Math.ceil(packedBytes(packed) / UNIT_BYTES);

const clamp = (value: number, min: number, max: number): number => Math.max(min, Math.min(max, value));
