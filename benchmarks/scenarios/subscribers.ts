/** Many subscribers of one topic, each a user with a token and a socket of their own. */
import { AckFrames } from '../generator/client-frames.js';
import type { Job } from '../generator/job.js';
import { PayloadFinder, sentAtMs, sequenceAt } from '../generator/payload.js';
import { until, within } from '../generator/until.js';
import { userToken } from '../generator/user-token.js';
import { WebSocket } from '../generator/web-socket.js';
import { CONNECT_TIMEOUT_MS } from './scenario.js';

export interface SubscribersSettings {
  readonly count: number;
  /** Members of the subscribe frame. */
  readonly subscription: Readonly<Record<string, unknown>>;
  /** Durable subscriptions, whose messages are acknowledged one by one. */
  readonly isDurable?: boolean;
  readonly onDelivery: (subscriber: number, sequence: number) => void;
  /** Told for one delivery in `SAMPLED`. */
  readonly onLatency?: (milliseconds: number) => void;
  /** Some deliveries have been counted. */
  readonly onReceived?: () => void;
}

/** The clock is read for one delivery in so many; every one is checked and counted. */
const SAMPLED = 16;
/** So many sockets are opened at once: more would overflow the backlog of the listening socket. */
const OPENED_AT_ONCE = 100;
/** `{"type":"message","message_id":"…`: the service puts the id first. */
const ID_AT = '{"type":"message","message_id":"'.length;

export class Subscribers {
  received = 0;
  receivedAt = 0;
  readonly failures: string[] = [];
  private readonly finder = new PayloadFinder();
  private readonly acks = new AckFrames();
  private sockets: WebSocket[] = [];

  constructor(
    private readonly job: Job,
    private readonly settings: SubscribersSettings,
  ) {}

  async open(): Promise<void> {
    const { count } = this.settings;
    for (let first = 0; first < count; first += OPENED_AT_ONCE) {
      const length = Math.min(OPENED_AT_ONCE, count - first);
      const opening = Promise.all(Array.from({ length }, (_, i) => this.openOne(first + i)));
      this.sockets.push(...(await within(opening, CONNECT_TIMEOUT_MS, 'subscribing')));
    }
  }

  /** Resolves once the service has read everything that was sent to it: a pong comes behind all acknowledgements. */
  async areHeard(timeoutMs: number): Promise<boolean> {
    let pongs = 0;
    for (const socket of this.sockets) void socket.request({ type: 'ping' }).then(() => (pongs += 1));
    return until(() => pongs === this.sockets.length, timeoutMs);
  }

  close(): void {
    for (const socket of this.sockets) socket.close();
    this.sockets = [];
  }

  private async openOne(index: number): Promise<WebSocket> {
    const { job, settings, finder, acks } = this;
    const { onDelivery, onLatency, onReceived, isDurable } = settings;
    const token = userToken(job.jwtSecret, `user-${index}`);
    const webSocket: WebSocket = await WebSocket.open(job.port, token, {
      onMessage: (bytes, start, end) => {
        const mark = finder.find(bytes, start, end);
        if (mark === -1) {
          this.failures.push(`no message of ours: ${bytes.toString('utf8', start, end)}`);
          return;
        }
        this.received += 1;
        onDelivery(index, sequenceAt(bytes, mark));
        if (isDurable) acks.add(bytes, start + ID_AT);
        if (onLatency !== undefined && this.received % SAMPLED === 0) {
          onLatency(performance.now() - sentAtMs(bytes, mark));
        }
      },
      onReceived: () => {
        this.receivedAt = performance.now();
        const frames = acks.take();
        if (frames !== undefined) webSocket.write(frames);
        onReceived?.();
      },
      onFailure: (what) => this.failures.push(`subscriber ${index}: ${what}`),
    });
    const clientId = isDurable ? { client_id: 'bench' } : {};
    await webSocket.request({ type: 'subscribe', ...settings.subscription, ...clientId });
    return webSocket;
  }
}

export const openSubscribers = async (job: Job, settings: SubscribersSettings): Promise<Subscribers> => {
  const subscribers = new Subscribers(job, settings);
  await subscribers.open();
  return subscribers;
};
