/** Many receivers, by socket or by long-poll, each a user with a token and a connection of their own. */
import { CLIENTS } from '../generator/clients/registry.js';
import type { Receiver } from '../generator/clients/service-client.js';
import type { Job } from '../generator/job.js';
import { PayloadFinder, sentAtMs, sequenceAt } from '../generator/payload.js';
import type { TopicSet } from '../generator/topic-set.js';
import { until, within } from '../generator/until.js';
import { CONNECT_TIMEOUT_MS } from './scenario.js';

export interface ReceiversSettings {
  readonly count: number;
  /** Receiver r follows topic r modulo their number. */
  readonly topics: TopicSet;
  readonly by?: 'socket' | 'poll';
  /** Durable subscriptions, whose messages are acknowledged one by one. */
  readonly isDurable?: boolean;
  readonly from?: 'latest' | 'earliest';
  /** The first of them is this user, the others follow. */
  readonly firstUser?: number;
  readonly onDelivery: (receiver: number, sequence: number) => void;
  /** Told for one delivery in `SAMPLED`. */
  readonly onLatency?: (milliseconds: number) => void;
  /** Some deliveries have been counted. */
  readonly onReceived?: () => void;
}

/** The clock is read for one delivery in so many; every one is checked and counted. */
const SAMPLED = 16;
/** So many connections are opened at once: more would overflow the backlog of the listening socket. */
const OPENED_AT_ONCE = 100;

export class Receivers {
  received = 0;
  receivedAt = 0;
  readonly failures: string[] = [];
  private readonly finder = new PayloadFinder();
  private receivers: Receiver[] = [];

  constructor(
    private readonly job: Job,
    private readonly settings: ReceiversSettings,
  ) {}

  async open(): Promise<void> {
    const { count } = this.settings;
    for (let first = 0; first < count; first += OPENED_AT_ONCE) {
      const length = Math.min(OPENED_AT_ONCE, count - first);
      const opening = Promise.all(Array.from({ length }, (_, i) => this.openOne(first + i)));
      this.receivers.push(...(await within(opening, CONNECT_TIMEOUT_MS, 'subscribing')));
    }
  }

  /** Resolves once the service has read everything that was sent to it: a pong comes behind all acknowledgements. */
  async areHeard(timeoutMs: number): Promise<boolean> {
    let pongs = 0;
    for (const receiver of this.receivers) void receiver.ping().then(() => (pongs += 1));
    return until(() => pongs === this.receivers.length, timeoutMs);
  }

  close(): void {
    for (const receiver of this.receivers) receiver.close();
    this.receivers = [];
  }

  private openOne(index: number): Promise<Receiver> {
    const { job, settings, finder } = this;
    const { topics, by, isDurable, from, firstUser, onDelivery, onLatency, onReceived } = settings;
    const client = CLIENTS[job.client];
    const open = by === 'poll' ? client.openPoller : client.openSocket;
    if (open === undefined) throw new Error(`${job.client} has no ${by}`);
    return open(
      job,
      {
        user: (firstUser ?? 0) + index,
        topic: topics.name(index % topics.count),
        isDurable: isDurable ?? false,
        from: from ?? 'latest',
      },
      {
        onMessage: (bytes, start, end) => {
          const mark = finder.find(bytes, start, end);
          if (mark === -1) {
            this.failures.push(`no message of ours: ${bytes.toString('utf8', start, end)}`);
            return;
          }
          this.received += 1;
          onDelivery(index, sequenceAt(bytes, mark));
          if (onLatency !== undefined && this.received % SAMPLED === 0) {
            onLatency(performance.now() - sentAtMs(bytes, mark));
          }
        },
        onReceived: () => {
          this.receivedAt = performance.now();
          onReceived?.();
        },
        onFailure: (what) => this.failures.push(`receiver ${index}: ${what}`),
      },
    );
  }
}

export const openReceivers = async (job: Job, settings: ReceiversSettings): Promise<Receivers> => {
  const receivers = new Receivers(job, settings);
  await receivers.open();
  return receivers;
};
