/** WebSocket bytes by hand, for what a well-behaved client library refuses to send (RFC 6455 §5.2). */
export const TEXT = 0x81;
export const BINARY = 0x82;
export const CLOSE = 0x88;

/** A frame as a client must mask it; with a mask of zeros the payload stays readable. */
export const maskedFrame = (firstByte: number, payload: string | Uint8Array): Buffer => {
  const data = Buffer.from(payload);
  const mask = Buffer.alloc(4);
  if (data.length < 126) return Buffer.concat([Buffer.from([firstByte, 0x80 | data.length]), mask, data]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(data.length);
  return Buffer.concat([Buffer.from([firstByte, 0x80 | 126]), length, mask, data]);
};

/** The HTTP request that asks for a WebSocket. */
export const upgradeRequest = (path: string, headers: Readonly<Record<string, string>> = {}): string =>
  [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '\r\n',
  ].join('\r\n');
