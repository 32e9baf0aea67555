/**
 * The least that can be done with node:http and node:net: POST /pub/TOPIC writes the payload to every WebSocket and
 * answers every poll at /sub/TOPIC. No tokens, no store, no checks, no limits: what is left is the machine, the kernel
 * and Node, and what a service takes beyond it is the price of what it promises. PORT is where it listens.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

interface Topic {
  readonly sockets: Set<Duplex>;
  /** Polls that wait for the next message. */
  held: ServerResponse[];
  /** The last messages, for polls that were not there: message n, counted from 0, lies at n modulo their number. */
  readonly kept: Buffer[];
  published: number;
}

const KEPT = 64;
const PUBLISH = '/pub/';
const SUBSCRIBE = '/sub/';
/** RFC 6455, section 1.3. */
const HANDSHAKE_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const FIN_AND_TEXT = 0x81;
const SHORT_MAX = 125;
const LENGTH_IN_16_BITS = 126;

const topics = new Map<string, Topic>();

const topicOf = (name: string): Topic => {
  const known = topics.get(name);
  if (known !== undefined) return known;
  const topic: Topic = { sockets: new Set(), held: [], kept: [], published: 0 };
  topics.set(name, topic);
  return topic;
};

const frameOf = (payload: Buffer): Buffer => {
  const isShort = payload.length <= SHORT_MAX;
  const header = Buffer.from([FIN_AND_TEXT, isShort ? payload.length : LENGTH_IN_16_BITS, 0, 0]);
  if (!isShort) header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([isShort ? header.subarray(0, 2) : header, payload]);
};

const publish = (topic: Topic, payload: Buffer): void => {
  topic.kept[topic.published % KEPT] = payload;
  topic.published += 1;
  const { sockets, held } = topic;
  if (sockets.size > 0) {
    const frame = frameOf(payload);
    for (const socket of sockets) socket.write(frame);
  }
  topic.held = [];
  for (const response of held) answer(response, payload, topic.published);
};

/** `next` is the message that comes behind this one: by it the next request says how far the client is. */
const answer = (response: ServerResponse, payload: Buffer, next: number): void => {
  response.writeHead(200, { 'Content-Length': payload.length, 'Last-Modified': '0', Etag: String(next) });
  response.end(payload);
};

/** Who does not say how far they are begins with the oldest message, so that none is missed before the first poll. */
const poll = (topic: Topic, request: IncomingMessage, response: ServerResponse): void => {
  const oldest = Math.max(0, topic.published - KEPT);
  const next = Number(request.headers['if-none-match'] ?? oldest);
  const payload = next < topic.published ? topic.kept[next % KEPT] : undefined;
  if (payload === undefined) topic.held.push(response);
  else answer(response, payload, next + 1);
};

const server = createServer({ keepAliveTimeout: 3_600_000 }, (request, response) => {
  const { url = '' } = request;
  if (url.startsWith(SUBSCRIBE)) {
    poll(topicOf(url.slice(SUBSCRIBE.length)), request, response);
    return;
  }
  const body: Buffer[] = [];
  request.on('data', (chunk: Buffer) => body.push(chunk));
  request.on('end', () => {
    publish(topicOf(url.slice(PUBLISH.length)), body.length === 1 ? body[0]! : Buffer.concat(body));
    response.writeHead(201, { 'Content-Length': 0 });
    response.end();
  });
});

server.on('upgrade', ({ url = '', headers }: IncomingMessage, socket: Duplex) => {
  const key = `${headers['sec-websocket-key'] ?? ''}${HANDSHAKE_GUID}`;
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `Sec-WebSocket-Accept: ${createHash('sha1').update(key).digest('base64')}\r\n\r\n`,
  );
  const { sockets } = topicOf(url.slice(SUBSCRIBE.length));
  sockets.add(socket);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  socket.on('close', () => sockets.delete(socket));
  socket.resume();
});

server.listen(Number(process.env['PORT']), '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
