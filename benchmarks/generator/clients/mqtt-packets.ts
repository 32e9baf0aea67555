/** The few packets of MQTT 3.1.1 that it takes to publish, to subscribe and to acknowledge. */
import type { SizeOf } from '../frame-scanner.js';

export const PUBLISH = 0x30;
export const PUBACK = 0x40;
const PUBLISH_QOS_1 = 0x32;
const CONNECT = 0x10;
const SUBSCRIBE = 0x82;
const CLEAN_SESSION = 0x02;
const PROTOCOL_LEVEL = 4;
const QOS_BITS = 0x06;
const TYPE_BITS = 0xf0;
const MORE = 0x80;

export const PINGREQ = Buffer.from([0xc0, 0]);
export const DISCONNECT = Buffer.from([0xe0, 0]);

export const typeOf = (bytes: Buffer, at: number): number => bytes[at]! & TYPE_BITS;

export const packetSize: SizeOf = (bytes, at, to) => {
  let length = 0;
  for (let i = 1; at + i < to && i <= 4; i++) {
    const byte = bytes[at + i]!;
    length += (byte & (MORE - 1)) * 2 ** (7 * (i - 1));
    if ((byte & MORE) === 0) return 1 + i + length;
  }
  return 0;
};

/** The id to acknowledge a PUBLISH with, 0 where it asks for no acknowledgement. */
export const packetIdOf = (bytes: Buffer, at: number): number => {
  if ((bytes[at]! & QOS_BITS) === 0) return 0;
  let topicAt = at + 1;
  while ((bytes[topicAt]! & MORE) !== 0) topicAt += 1;
  topicAt += 1;
  return bytes.readUInt16BE(topicAt + 2 + bytes.readUInt16BE(topicAt));
};

export const connectPacket = (clientId: string): Buffer =>
  packet(CONNECT, [text('MQTT'), Buffer.from([PROTOCOL_LEVEL, CLEAN_SESSION, 0, 0]), text(clientId)]);

export const subscribePacket = (topic: string, qos: 0 | 1): Buffer =>
  packet(SUBSCRIBE, [Buffer.from([0, 1]), text(topic), Buffer.from([qos])]);

/** At QoS 1; the id may be the same for each, since a lane waits for its answer. */
export const publishPacket = (topic: string, payload: string): Buffer =>
  packet(PUBLISH_QOS_1, [text(topic), Buffer.from([0, 1]), Buffer.from(payload)]);

export const pubackPacket = (id: number): Buffer => Buffer.from([PUBACK, 2, id >> 8, id & 0xff]);

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
};

const packet = (first: number, parts: readonly Buffer[]): Buffer => {
  const content = Buffer.concat(parts);
  const length: number[] = [];
  for (let rest = content.length; rest > 0 || length.length === 0; rest >>= 7) {
    length.push((rest & (MORE - 1)) | (rest >= MORE ? MORE : 0));
  }
  return Buffer.concat([Buffer.from([first, ...length]), content]);
};
