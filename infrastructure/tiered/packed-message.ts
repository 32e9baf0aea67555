/**
 * A topic's event as bytes. Texts are written one byte a character where they are all ASCII, and else two, as V8 itself
 * has them: both are copied as they are, back and forth, whatever is in them. Beside the payload there is one JSON text
 * of all else, for the few messages that have anything else.
 *
 * HOT PATH, budget 0.15 µs to pack a message of 200 ASCII characters and as much to unpack it, 0.6 µs for others
 * (benchmarks/hot-tier.ts). Nothing looks at the characters before: they are written as UTF-8, and if that took as many
 * bytes as there are characters it is ASCII. Only behind a text that was not, the next one is looked at first.
 */
import type { MessagePublished, TopicEvent } from '../../domain/topic/topic-events.js';

export interface Packed {
  payloadCharacters: number;
  metaCharacters: number;
  /** Bytes that each character takes. */
  width: number;
}

const ASCII = 1;
const UTF16 = 2;
const ASCII_MAX = 0x7f;

/** A character is never written in part, so what is cut off ends less than this before the end. */
const UTF8_CHARACTER_BYTES_MAX = 4;

/** JSON begins with names and quotes; where other script follows, it does so soon. */
const LOOKED_AT_MAX = 128;

type Meta = Omit<MessagePublished, 'type' | 'payload'>;

export const packedBytes = ({ payloadCharacters, metaCharacters, width }: Packed): number =>
  (payloadCharacters + metaCharacters) * width;

export const payloadOf = (event: TopicEvent): string =>
  event.type === 'MessagePublished' ? event.payload : '';

/** Everything but the payload; empty where there is nothing else. Of another event, all of it. */
export const metaOf = (event: TopicEvent): string => {
  if (event.type !== 'MessagePublished') return JSON.stringify(event);
  const { expiresAt, key, priority, headers } = event;
  const isPlain =
    expiresAt === undefined && key === undefined && priority === undefined && headers === undefined;
  if (isPlain) return '';
  // A field that is added to messages does not compile until it is here.
  const meta: { readonly [Name in keyof Required<Meta>]: Meta[Name] } = { expiresAt, key, priority, headers };
  return JSON.stringify(meta);
};

/** Looks at every character. */
export const isAscii = (text: string): boolean => Buffer.byteLength(text) === text.length;

/**
 * Writes both texts from `start` on and tells in `packed`, which comes with what the last ones were, how. False: they
 * have no room there, and what lies behind `start` is undefined.
 */
export const pack = (
  bytes: Buffer,
  start: number,
  payload: string,
  meta: string,
  packed: Packed,
): boolean => {
  const isLikeLast = packed.width === UTF16 && beginsOther(payload);
  packed.payloadCharacters = payload.length;
  packed.metaCharacters = meta.length;
  packed.width = ASCII;
  if (start + packedBytes(packed) > bytes.length) return false;
  if (!isLikeLast && wroteAscii(bytes, start, payload) && wroteAscii(bytes, start + payload.length, meta))
    return true;
  packed.width = UTF16;
  if (start + packedBytes(packed) > bytes.length) return false;
  bytes.write(payload, start, 'utf16le');
  bytes.write(meta, start + payload.length * UTF16, 'utf16le');
  return true;
};

/** Is it known after a short look that this is not ASCII? To find out by writing costs several times the copy. */
const beginsOther = (text: string): boolean => {
  const end = Math.min(text.length, LOOKED_AT_MAX);
  for (let i = 0; i < end; i++) if (text.charCodeAt(i) > ASCII_MAX) return true;
  return false;
};

/** Never writes past the end. False: what it has written is worth nothing. */
const wroteAscii = (bytes: Buffer, start: number, text: string): boolean => {
  if (text === '') return true;
  // Text that is cut off at the end of the buffer may by chance end after as many bytes as it has characters.
  const mayBeCutOff = bytes.length - start < text.length + UTF8_CHARACTER_BYTES_MAX;
  if (mayBeCutOff && !isAscii(text)) return false;
  return bytes.write(text, start) === text.length;
};

export const unpack = (bytes: Buffer, start: number, packed: Packed): TopicEvent => {
  const { payloadCharacters, metaCharacters, width } = packed;
  const encoding = width === ASCII ? 'latin1' : 'utf16le';
  const metaStart = start + payloadCharacters * width;
  const payload = bytes.toString(encoding, start, metaStart);
  if (metaCharacters === 0) return { type: 'MessagePublished', payload };
  const meta = JSON.parse(bytes.toString(encoding, metaStart, start + packedBytes(packed))) as
    Meta | Exclude<TopicEvent, MessagePublished>;
  return 'type' in meta ? meta : { type: 'MessagePublished', payload, ...meta };
};
