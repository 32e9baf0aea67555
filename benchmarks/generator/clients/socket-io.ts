/**
 * socket.io, as benchmarks/peers/socket.io/server.mjs uses it: an HTTP endpoint that emits into a room, and clients
 * that join a room. Its protocol: a digit for Engine.IO (4 message, 2 ping, 3 pong), one for Socket.IO (0 connect,
 * 2 event, 3 acknowledgement), then the id that is to be acknowledged, if any, and JSON.
 */
import { AckFrames, textFrame } from '../client-frames.js';
import { PAYLOAD } from '../payload.js';
import { RequestTemplate } from '../request-template.js';
import { WebSocket } from '../web-socket.js';
import { openHttpLane } from './http-lane.js';
import { Replies } from './replies.js';
import type { ServiceClient } from './service-client.js';

const PING = 0x32;
const EVENT = 0x32;
const BRACKET = 0x5b;
const ID_AT = '42'.length;

const pong = textFrame('3');
const acks = new AckFrames('43', '[]');

export const socketIo: ServiceClient = {
  bulkMax: 1,
  openLane: (job, { topics }) => {
    const request =
      `POST /publish/${topics.name(0)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${PAYLOAD.length}\r\n\r\n${PAYLOAD}`;
    return openHttpLane(job.port, new RequestTemplate(Buffer.from(request), topics));
  },
  openSocket: async (job, { topic, isDurable }, { onMessage, onReceived, onFailure }) => {
    const replies = new Replies();
    const ask = (text: string): Promise<void> => {
      socket.write(textFrame(text));
      return replies.next();
    };
    let greeted: () => void = () => undefined;
    const greeting = new Promise<void>((resolve) => (greeted = resolve));
    const socket = await WebSocket.open(
      { port: job.port, path: '/socket.io/?EIO=4&transport=websocket', headers: '' },
      {
        onText: (bytes, start, end) => {
          if (end - start === 1 && bytes[start] === PING) socket.write(pong);
          else if (bytes[start + 1] === EVENT) {
            onMessage(bytes, start, end);
            if (isDurable) acks.add(bytes, start + ID_AT, BRACKET);
          } else if (bytes.toString('latin1', start, start + 2) === '0{') greeted();
          else replies.arrived();
        },
        onReceived: () => {
          const frames = acks.take();
          if (frames !== undefined) socket.write(frames);
          onReceived();
        },
        onFailure,
      },
    );
    await greeting;
    await ask('40');
    await ask(`420${JSON.stringify(['join', topic, isDurable])}`);
    return { ping: () => ask('420["ping"]'), close: () => socket.close() };
  },
};
