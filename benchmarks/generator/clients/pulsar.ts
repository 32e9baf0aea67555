/** This service: POST, `publish` frames, subscriptions by WebSocket and long-poll. */
import { HttpConnection } from '../http-connection.js';
import type { Job } from '../job.js';
import { MARK, payloadOf } from '../payload.js';
import { RequestTemplate } from '../request-template.js';
import { AckFrames, textFrame } from '../client-frames.js';
import { userToken } from '../user-token.js';
import { WebSocket, type WebSocketEvents } from '../web-socket.js';
import { openHttpLane } from './http-lane.js';
import { openSocketLane } from './socket-lane.js';
import { Replies } from './replies.js';
import type { Receiver, ReceiverEvents, ReceiverSettings, ServiceClient } from './service-client.js';

/** Every frame names its type first, and no other type begins with an m. */
const TYPE_AT = '{"type":"'.length;
const LETTER_M = 0x6d;
/** The service puts the id first. */
const ID_AT = '{"type":"message","message_id":"'.length;
const QUOTE = 0x22;
/** Below the service's own limit; whoever waits that long asks again. */
const POLL_SECONDS = 55;
/** As many as the service gives at most. */
const POLL_MESSAGES = 1000;

/** One for all sockets: what one of them has received is acknowledged before the next one reads. */
const acks = new AckFrames('{"type":"ack","message_id":"', '"}');

const openPublisher: ServiceClient['openLane'] = async (job, { topics, batch }) => {
  if (batch !== 1) throw new Error('a publish frame has one message');
  const text = `{"type":"publish","topic":"${topics.name(0)}","payload":${payloadOf(job.sizes.payloadBytes)}}`;
  const template = new RequestTemplate(Buffer.from(text), topics);
  return openSocketLane(template, '{"type":"published"', (events) => openWebSocket(job, job.apiKey, events));
};

const openSocket = async (
  job: Job,
  { user, topic, isDurable, from }: ReceiverSettings,
  { onMessage, onReceived, onFailure }: ReceiverEvents,
): Promise<Receiver> => {
  const replies = new Replies();
  const ask = (frame: object): Promise<void> => {
    socket.write(textFrame(JSON.stringify(frame)));
    return replies.next();
  };
  const socket = await openWebSocket(job, userToken(job.jwtSecret, `user-${user}`), {
    onText: (bytes, start, end) => {
      if (bytes[start + TYPE_AT] === LETTER_M) {
        onMessage(bytes, start, end);
        if (isDurable) acks.add(bytes, start + ID_AT, QUOTE);
        return;
      }
      const text = bytes.toString('utf8', start, end);
      const { type } = JSON.parse(text) as { readonly type: string };
      if (type === 'gap' || type === 'error') onFailure(text);
      else replies.arrived();
    },
    onReceived: () => {
      const frames = acks.take();
      if (frames !== undefined) socket.write(frames);
      onReceived();
    },
    onFailure,
  });
  await ask({
    type: 'subscribe',
    topics: [topic],
    from,
    ...(isDurable ? { delivery: 'at_least_once', client_id: 'bench' } : { delivery: 'at_most_once' }),
  });
  return { ping: () => ask({ type: 'ping' }), close: () => socket.close() };
};

/** At-most-once: an answer settles what it contains, as it does with every peer that has long-poll. */
const openPoller = async (
  job: Job,
  { user, topic, from }: ReceiverSettings,
  { onMessage, onReceived, onFailure }: ReceiverEvents,
): Promise<Receiver> => {
  const connection = await HttpConnection.open(job.port);
  const token = userToken(job.jwtSecret, `user-${user}`);
  const request = (seconds: number): Buffer =>
    Buffer.from(
      `GET /api/v1/poll?topics=${topic}&timeout=${seconds}&max=${POLL_MESSAGES}&delivery=at_most_once&from=${from} ` +
        `HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
  const poll = request(POLL_SECONDS);
  const onAnswer = (status: number, bytes: Buffer, bodyAt: number, end: number): void => {
    if (status !== 200 || bytes.indexOf('"gaps":') !== -1) {
      onFailure(`poll answered ${status}: ${bytes.toString('utf8', bodyAt, end)}`);
      return;
    }
    for (let at = bytes.indexOf(MARK, bodyAt); at !== -1 && at < end; at = bytes.indexOf(MARK, at + 1)) {
      onMessage(bytes, at, end);
    }
    connection.send(poll, onAnswer);
    onReceived();
  };
  // The first one does not wait: once it is answered, the subscription exists and misses nothing any more.
  await new Promise<void>((resolve) =>
    connection.send(request(0), (...answer) => {
      onAnswer(...answer);
      resolve();
    }),
  );
  return { ping: () => Promise.resolve(), close: () => connection.close() };
};

const openWebSocket = ({ port }: Job, token: string, events: WebSocketEvents): Promise<WebSocket> =>
  WebSocket.open({ port, path: '/ws', headers: `Authorization: Bearer ${token}\r\n` }, events);

export const pulsar: ServiceClient = {
  bulkMax: 1000,
  openLane: (job, { topics, batch }) => {
    const message = `{"topic":"${topics.name(0)}","payload":${payloadOf(job.sizes.payloadBytes)}}`;
    const body = batch === 1 ? message : `{"messages":[${Array<string>(batch).fill(message).join(',')}]}`;
    const request =
      `POST /api/v1/messages${batch === 1 ? '' : '/bulk'} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
      `Authorization: Bearer ${job.apiKey}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    return openHttpLane(job.port, new RequestTemplate(Buffer.from(request), topics));
  },
  openSocketLane: openPublisher,
  openSocket,
  openPoller,
};
