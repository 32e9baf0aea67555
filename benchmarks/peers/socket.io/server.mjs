/**
 * socket.io as an application would use it for what this service does: an HTTP endpoint that emits into the room of a
 * topic, and clients that join rooms or have something emitted into them. PORT is where it listens; VALKEY_PORT, where
 * it is given, is where the adapter for Redis streams keeps the messages. An acknowledged topic is emitted with
 * socket.io's own acknowledgements.
 */
import { createServer } from 'node:http';
import process from 'node:process';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';

const ACK_TIMEOUT_MS = 30_000;
const PUBLISH = '/publish/';

const acknowledged = new Set();

const publish = (topic, payload) => {
  if (acknowledged.has(topic)) {
    io.to(topic)
      .timeout(ACK_TIMEOUT_MS)
      .emit('m', payload, () => undefined);
  } else io.to(topic).emit('m', payload);
};

const server = createServer({ keepAliveTimeout: 3_600_000 }, (request, response) => {
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (chunk) => (body += chunk));
  request.on('end', () => {
    const isPublish = request.method === 'POST' && request.url.startsWith(PUBLISH);
    if (isPublish) publish(request.url.slice(PUBLISH.length), JSON.parse(body));
    response.writeHead(isPublish ? 201 : 404, { 'Content-Length': 2 });
    response.end('{}');
  });
});

const { PORT, VALKEY_PORT } = process.env;
const io = new Server(server, {
  transports: ['websocket'],
  perMessageDeflate: false,
  ...(VALKEY_PORT === undefined
    ? {}
    : { adapter: createAdapter(new Redis(Number(VALKEY_PORT), '127.0.0.1')) }),
});
io.on('connection', (socket) => {
  socket.on('join', (topic, isAcknowledged, done) => {
    if (isAcknowledged) acknowledged.add(topic);
    socket.join(topic);
    done();
  });
  socket.on('publish', (topic, payload, done) => {
    publish(topic, payload);
    done();
  });
  socket.on('ping', (done) => done());
});

server.listen(Number(PORT), '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
