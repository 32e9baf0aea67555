/** nginx with Nchan: POST or WebSocket to publish, WebSocket or long-poll to subscribe; it has no acknowledgements. */
import { HttpConnection } from '../http-connection.js';
import type { Job } from '../job.js';
import { payloadOf } from '../payload.js';
import { RequestTemplate } from '../request-template.js';
import { WebSocket } from '../web-socket.js';
import { openHttpLane } from './http-lane.js';
import { openSocketLane } from './socket-lane.js';
import type { Receiver, ReceiverEvents, ReceiverSettings, ServiceClient } from './service-client.js';

export const nchan: ServiceClient = {
  bulkMax: 1,
  openLane: (job, { topics }) => {
    const payload = payloadOf(job.sizes.payloadBytes);
    const request =
      `POST /pub/${topics.name(0)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${payload.length}\r\n\r\n${payload}`;
    return openHttpLane(job.port, new RequestTemplate(Buffer.from(request), topics));
  },
  openSocketLane: (job, settings) => openPublisher(job, settings),
  openSocket: async (job, { topic }, { onMessage, onReceived, onFailure }) => {
    const socket = await WebSocket.open(
      { port: job.port, path: `/sub/${topic}`, headers: '' },
      { onText: onMessage, onReceived, onFailure },
    );
    return { ping: () => Promise.resolve(), close: () => socket.close() };
  },
  openPoller: (job, settings, events) => openPoller(job, settings, events),
};

/** The topic is in the address of the socket, and every message is answered with the state of its channel. */
const openPublisher: ServiceClient['openLane'] = async (job, { topics }) => {
  if (topics.count !== 1) throw new Error('a socket publishes to one topic');
  const template = new RequestTemplate(Buffer.from(payloadOf(job.sizes.payloadBytes)), topics);
  const address = { port: job.port, path: `/pub/${topics.name(0)}`, headers: '' };
  return openSocketLane(template, 'queued messages', (events) => WebSocket.open(address, events));
};

const LAST_MODIFIED = 'Last-Modified: ';
const ETAG = 'Etag: ';

/** One message for each answer; the next request names it in the two headers by which Nchan knows the position. */
const openPoller = async (
  job: Job,
  { topic }: ReceiverSettings,
  { onMessage, onReceived, onFailure }: ReceiverEvents,
): Promise<Receiver> => {
  const connection = await HttpConnection.open(job.port);
  const poll = (position: string): void =>
    connection.send(
      Buffer.from(`GET /sub/${topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n${position}\r\n`),
      (status, bytes, bodyAt, end) => {
        if (status !== 200) {
          onFailure(`poll answered ${status}: ${bytes.toString('utf8', bodyAt, end)}`);
          return;
        }
        onMessage(bytes, bodyAt, end);
        const head = bytes.toString('latin1', 0, bodyAt);
        poll(
          `If-Modified-Since: ${valueOf(head, LAST_MODIFIED)}\r\nIf-None-Match: ${valueOf(head, ETAG)}\r\n`,
        );
        onReceived();
      },
    );
  // Without a position Nchan answers with the oldest message: whatever is published from now on is not missed.
  poll('');
  return { ping: () => Promise.resolve(), close: () => connection.close() };
};

const valueOf = (head: string, header: string): string => {
  const at = head.indexOf(header);
  if (at === -1) throw new Error(`an answer without ${header}\n${head}`);
  return head.slice(at + header.length, head.indexOf('\r\n', at));
};
