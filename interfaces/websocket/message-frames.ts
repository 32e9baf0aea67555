/**
 * Messages as bytes of WebSocket text frames (RFC 6455 §5.2; servers do not mask). HOT PATH, once per batch and
 * instance: all frames of a batch are one buffer, which every subscriber at the same position is written as it is.
 */
import type { MessageBatch } from '../../application/ports/client-connection.js';
import { messageMembers } from '../codecs/delivered-message.js';

const FIN_AND_TEXT = 0x81;
const LENGTH_IN_16_BITS = 126;
const LENGTH_IN_64_BITS = 127;

/** The batch as first deliveries; encoded when the first connection asks, kept for the others. */
export const firstDeliveryFrames = (batch: MessageBatch): Uint8Array =>
  (batch.encoded ??= messageFrames(batch, 0));

/** The batch as frames. `attempt` 0 leaves the attempt out, as in first deliveries. */
export const messageFrames = ({ topic, messages }: MessageBatch, attempt: number): Uint8Array => {
  const texts = messages.map((message) => `{"type":"message",${messageMembers(topic, message, attempt)}}`);
  return textFrames(texts);
};

export const textFrames = (texts: readonly string[]): Uint8Array => {
  const lengths = texts.map((text) => Buffer.byteLength(text));
  const total = lengths.reduce((sum, length) => sum + headerLength(length) + length, 0);
  const frames = Buffer.allocUnsafe(total);
  let at = 0;
  texts.forEach((text, i) => {
    const length = lengths[i] ?? 0;
    at = writeHeader(frames, at, length);
    at += frames.write(text, at, 'utf8');
  });
  return frames;
};

/** One text as a frame: as `textFrames` would have it. */
export const textFrame = (text: string): Uint8Array => {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(headerLength(length) + length);
  const at = writeHeader(frame, 0, length);
  // As many bytes as characters: all of them are ASCII, which is copied and not encoded.
  frame.write(text, at, length === text.length ? 'latin1' : 'utf8');
  return frame;
};

const headerLength = (length: number): number => (length < LENGTH_IN_16_BITS ? 2 : length < 0x10000 ? 4 : 10);

const writeHeader = (frames: Buffer, start: number, length: number): number => {
  const at = frames.writeUInt8(FIN_AND_TEXT, start);
  if (length < LENGTH_IN_16_BITS) return frames.writeUInt8(length, at);
  if (length < 0x10000) return frames.writeUInt16BE(length, frames.writeUInt8(LENGTH_IN_16_BITS, at));
  return frames.writeBigUInt64BE(BigInt(length), frames.writeUInt8(LENGTH_IN_64_BITS, at));
};
