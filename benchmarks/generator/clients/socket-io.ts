/**
 * socket.io, as benchmarks/peers/socket.io/server.mjs uses it: an HTTP endpoint that emits into a room, and clients
 * that join a room and emit into it. Its protocol: a digit for Engine.IO (4 message, 2 ping, 3 pong), one for Socket.IO
 * (0 connect, 2 event, 3 acknowledgement), then the id that is to be acknowledged, if any, and JSON.
 */
import { AckFrames, clientFrame, TEXT, textFrame } from '../client-frames.js';
import type { Job } from '../job.js';
import { payloadOf } from '../payload.js';
import { RequestTemplate } from '../request-template.js';
import { WebSocket, type WebSocketEvents } from '../web-socket.js';
import { openHttpLane } from './http-lane.js';
import { Replies } from './replies.js';
import type { Lane, LaneSettings, ServiceClient } from './service-client.js';

const PING = 0x32;
const EVENT = 0x32;
const BRACKET = 0x5b;
const ID_AT = '42'.length;

const pong = textFrame('3');
const acks = new AckFrames('43', '[]');

interface Connection {
  write(frames: Buffer): void;
  /** Sends something that is answered; answers come in the order of their questions. */
  ask(frame: Buffer): Promise<void>;
  close(): void;
}

/** Resolves when it is connected to the namespace. `onText` is called with events only. */
const connect = async (job: Job, { onText, onReceived, onFailure }: WebSocketEvents): Promise<Connection> => {
  const replies = new Replies();
  let greeted: () => void = () => undefined;
  const greeting = new Promise<void>((resolve) => (greeted = resolve));
  const socket = await WebSocket.open(
    { port: job.port, path: '/socket.io/?EIO=4&transport=websocket', headers: '' },
    {
      onText: (bytes, start, end) => {
        if (end - start === 1 && bytes[start] === PING) socket.write(pong);
        else if (bytes[start + 1] === EVENT) onText(bytes, start, end);
        else if (bytes.toString('latin1', start, start + 2) === '0{') greeted();
        else replies.arrived();
      },
      onReceived,
      onFailure,
    },
  );
  const connection = {
    write: (frames: Buffer) => socket.write(frames),
    ask: (frame: Buffer) => {
      socket.write(frame);
      return replies.next();
    },
    close: () => socket.close(),
  };
  await greeting;
  await connection.ask(textFrame('40'));
  return connection;
};

const openSocketLane = async (job: Job, { topics }: LaneSettings): Promise<Lane> => {
  const text = `420["publish","${topics.name(0)}",${payloadOf(job.sizes.payloadBytes)}]`;
  const template = new RequestTemplate(Buffer.from(text), topics);
  let onAnswer: (failure: string | undefined) => void = () => undefined;
  const connection = await connect(job, {
    onText: () => undefined,
    onReceived: () => undefined,
    onFailure: (what) => onAnswer(what),
  });
  return {
    template,
    send: (answered) => {
      onAnswer = answered;
      void connection.ask(clientFrame(TEXT, template.bytes)).then(() => answered(undefined));
    },
    close: () => connection.close(),
  };
};

export const socketIo: ServiceClient = {
  bulkMax: 1,
  openLane: (job, { topics }) => {
    const payload = payloadOf(job.sizes.payloadBytes);
    const request =
      `POST /publish/${topics.name(0)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${payload.length}\r\n\r\n${payload}`;
    return openHttpLane(job.port, new RequestTemplate(Buffer.from(request), topics));
  },
  openSocketLane,
  openSocket: async (job, { topic, isDurable }, { onMessage, onReceived, onFailure }) => {
    const connection = await connect(job, {
      onText: (bytes, start, end) => {
        onMessage(bytes, start, end);
        if (isDurable) acks.add(bytes, start + ID_AT, BRACKET);
      },
      onReceived: () => {
        const frames = acks.take();
        if (frames !== undefined) connection.write(frames);
        onReceived();
      },
      onFailure,
    });
    await connection.ask(textFrame(`420${JSON.stringify(['join', topic, isDurable])}`));
    return { ping: () => connection.ask(textFrame('420["ping"]')), close: () => connection.close() };
  },
};
