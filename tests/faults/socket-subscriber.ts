/**
 * A client on WebSockets that behaves as clients do, well and badly: it acknowledges one by one, in batches or up to a
 * place, forgets some, rejects some, is late with some, and comes back at any proxy, sometimes before it has left.
 */
import { WebSocket } from 'ws';
import type { Frame } from '../support/client.js';
import type { Random } from '../support/random.js';
import { offsetOfId, topicOf, type SubscriptionRecorder } from './history.js';
import type { Slot } from './installation.js';
import { pause, type World } from './world.js';

export interface SocketManner {
  readonly acks: 'each' | 'batch' | 'up_to';
  readonly ackTimeoutSeconds: number;
  readonly maxInFlight: number;
  /** How long it stays at most, while it is wild. */
  readonly stayMs: number;
}

const BATCH_MS = 80;
const CALM_BATCH_MS = 5;
/** As many ids as one frame may have. */
const BATCH_MAX = 1_000;
const SUBSCRIBED_WITHIN_MS = 12_000;

/** Errors that a fault may bring; everything else is about the client, which did nothing wrong. */
const EXCUSED_ERRORS = new Set([
  'storage_unavailable',
  'storage_full',
  'unknown_messages',
  'subscription_contended',
  'shutting_down',
]);

export class SocketSubscriber {
  constructor(
    private readonly world: World,
    private readonly recorder: SubscriptionRecorder,
    private readonly random: Random,
    private readonly manner: SocketManner,
  ) {}

  async run(): Promise<void> {
    const { world, random, manner } = this;
    while (world.mood !== 'over') {
      const slot = world.anyProxy(random);
      const visit = slot === undefined ? undefined : await this.visit(slot);
      if (visit === undefined || !visit.isOpened) {
        visit?.socket.terminate();
        await pause(random.whole(50, 400));
        continue;
      }
      const leavesMs = world.history.nowMs() + random.whole(manner.stayMs / 10, manner.stayMs);
      while (!visit.isClosed && (isCalm(world) || world.history.nowMs() < leavesMs)) {
        if (isOver(world)) break;
        await pause(20);
      }
      this.leave(visit);
      if (random.chance(0.4)) await pause(random.whole(0, 900));
    }
  }

  /** Politely, by vanishing, or not before the next connection is there. */
  private leave(visit: Visit): void {
    const how = this.random.next();
    if (isOver(this.world) || how < 0.4) visit.socket.close();
    else if (how < 0.7) visit.socket.terminate();
    else setTimeout(() => visit.socket.terminate(), OVERLAP_MS);
  }

  private async visit(slot: Slot): Promise<Visit | undefined> {
    if (slot.proxy === undefined) return undefined;
    const visit = new Visit(this.world, this.recorder, this.random, this.manner, slot);
    await visit.opened;
    return visit;
  }
}

const OVERLAP_MS = 3_000;

const isCalm = ({ mood }: World): boolean => mood === 'calm';
const isOver = ({ mood }: World): boolean => mood === 'over';

/** One connection, from its beginning to its end. */
class Visit {
  readonly socket: WebSocket;
  isOpened = false;
  isClosed = false;
  /** Resolves when the subscription is open, or when it will not be. */
  readonly opened: Promise<void>;
  private readonly connection: number;
  /** Came on this connection; not acknowledged, and not given back either. */
  private readonly held = new Set<string>();
  private readonly requests = new Map<number, readonly string[]>();
  private requestsSent = 0;
  private batch: string[] = [];
  private settleOpened: () => void = () => undefined;

  constructor(
    private readonly world: World,
    private readonly recorder: SubscriptionRecorder,
    private readonly random: Random,
    private readonly manner: SocketManner,
    private readonly slot: Slot,
  ) {
    this.connection = recorder.began('socket', slot.name);
    this.opened = new Promise((resolve) => (this.settleOpened = resolve));
    this.socket = new WebSocket(slot.target.wsUrl, {
      headers: { authorization: `Bearer ${world.token}` },
      handshakeTimeout: SUBSCRIBED_WITHIN_MS,
    });
    this.socket.on('open', () => this.subscribe());
    this.socket.on('message', (data: Buffer) => this.onFrame(data.toString('utf8')));
    // Whatever it is, `close` follows.
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.isClosed = true;
      this.settleOpened();
    });
    setTimeout(() => this.settleOpened(), SUBSCRIBED_WITHIN_MS).unref();
  }

  private subscribe(): void {
    const { clientId, topics, from, guarantee } = this.recorder;
    this.send({
      type: 'subscribe',
      id: SUBSCRIBE,
      topics,
      client_id: clientId,
      from,
      delivery: guarantee,
      ack_timeout: this.manner.ackTimeoutSeconds,
      max_in_flight: this.manner.maxInFlight,
    });
  }

  private onFrame(text: string): void {
    const frame = JSON.parse(text) as Frame;
    const { recorder, connection } = this;
    switch (frame.type) {
      case 'subscribed': {
        this.isOpened = true;
        const recovered = frame.topics.every((topic) => topic.recovered);
        recorder.record({ type: 'Opened', recovered, connection });
        this.settleOpened();
        return;
      }
      case 'message':
        this.onMessage(frame);
        return;
      case 'gap': {
        const { topic, from, to, reason } = frame;
        recorder.record({ type: 'GapTold', topic, from, to, reason, connection });
        return;
      }
      case 'acked': {
        const ids = this.requests.get(Number(frame.id)) ?? [];
        const messageIds = ids.filter((id) => !frame.unknown.includes(id));
        recorder.record({ type: 'AckConfirmed', messageIds, connection });
        return;
      }
      case 'error':
        if (frame.id === SUBSCRIBE) this.settleOpened();
        if (!EXCUSED_ERRORS.has(frame.code))
          this.world.surprise(`${recorder.clientId} at ${this.slot.name} was told ${text.slice(0, 300)}`);
    }
  }

  private onMessage({ message_id: messageId, payload, attempt = 1 }: Frame): void {
    const { recorder, connection, world, manner } = this;
    if (!this.isOpened) world.surprise(`${recorder.clientId} got ${messageId} before it was subscribed`);
    recorder.record({
      type: 'Delivered',
      messageId,
      payload: JSON.stringify(payload),
      attempt,
      connection,
    });
    if (recorder.guarantee === 'at_most_once') return;
    this.held.add(messageId);
    if (isCalm(world)) this.ackSoon(messageId, CALM_BATCH_MS);
    else if (manner.acks === 'up_to') this.ackSoon(messageId, BATCH_MS);
    else this.treat(messageId);
  }

  /** Most are acknowledged soon; the others are what clients do to them. */
  private treat(messageId: string): void {
    const { random, manner } = this;
    const mood = random.next();
    const timeoutMs = manner.ackTimeoutSeconds * 1000;
    if (mood < 0.05) return;
    if (mood < 0.1) this.giveBack(messageId);
    else if (mood < 0.14) this.later(timeoutMs + random.whole(-200, 300), () => this.ack([messageId]));
    else if (mood < 0.18) {
      this.later(timeoutMs * 0.7, () =>
        this.send({ type: 'extend', id: this.nextId(), message_ids: [messageId] }),
      );
      this.later(timeoutMs * 1.3, () => this.ack([messageId]));
    } else if (manner.acks === 'each') this.later(random.whole(0, 100), () => this.ack([messageId]));
    else this.ackSoon(messageId, BATCH_MS);
  }

  private giveBack(messageId: string): void {
    this.held.delete(messageId);
    const delay = this.random.pick([{}, { delay: 0 }, { delay: 1 }]);
    this.send({ type: 'nack', id: this.nextId(), message_ids: [messageId], ...delay });
  }

  private ackSoon(messageId: string, afterMs: number): void {
    this.batch.push(messageId);
    if (this.batch.length > 1) return;
    this.later(afterMs, () => {
      const batch = this.batch;
      this.batch = [];
      if (this.manner.acks === 'up_to') this.ackUpTo(batch);
      else for (let i = 0; i < batch.length; i += BATCH_MAX) this.ack(batch.slice(i, i + BATCH_MAX));
    });
  }

  private ackUpTo(batch: readonly string[]): void {
    const newest = new Map<string, string>();
    for (const id of batch) {
      const known = newest.get(topicOf(id));
      if (known === undefined || offsetOfId(known) < offsetOfId(id)) newest.set(topicOf(id), id);
    }
    for (const [topic, upTo] of newest) {
      const covered = [...this.held].filter(
        (id) => topicOf(id) === topic && offsetOfId(id) <= offsetOfId(upTo),
      );
      this.settle(covered, { up_to: upTo });
    }
  }

  private ack(messageIds: readonly string[]): void {
    this.settle(messageIds, { message_ids: messageIds });
  }

  private settle(messageIds: readonly string[], what: Readonly<Record<string, unknown>>): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const id = this.nextId();
    this.requests.set(id, messageIds);
    for (const each of messageIds) this.held.delete(each);
    this.recorder.record({ type: 'AckSent', messageIds, connection: this.connection });
    this.send({ type: 'ack', id, ...what });
  }

  private nextId(): number {
    return (this.requestsSent += 1);
  }

  private later(ms: number, act: () => void): void {
    setTimeout(act, ms).unref();
  }

  private send(frame: unknown): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }
}

const SUBSCRIBE = 'subscribe';
