/**
 * A client that polls, each time at any proxy, and acknowledges over HTTP, at any proxy too. It asks for one thing at
 * a time; what it does not acknowledge comes again after the timeout.
 */
import type { Answer, DeliveredMessage, GapTold } from '../support/client.js';
import type { Random } from '../support/random.js';
import type { SubscriptionRecorder } from './history.js';
import { ask, pause, type NoAnswer, type World } from './world.js';

export interface PollManner {
  readonly ackTimeoutSeconds: number;
}

/** What a poll is answered; gaps are there only where there are some. */
interface Polled {
  readonly messages: readonly DeliveredMessage[];
  readonly gaps?: readonly GapTold[];
}

/** Answers of a fault; everything else is about the client, which did nothing wrong. */
const EXCUSED = new Set([
  'storage_unavailable',
  'storage_full',
  'subscription_contended',
  'shutting_down',
  'too_many_connections',
]);

export class PollSubscriber {
  private openedMs = -Infinity;

  constructor(
    private readonly world: World,
    private readonly recorder: SubscriptionRecorder,
    private readonly random: Random,
    private readonly manner: PollManner,
  ) {}

  async run(): Promise<void> {
    while (this.world.mood !== 'over') {
      if (!(await this.poll())) await pause(this.random.whole(50, 300));
    }
  }

  /** Answers whether it was answered. */
  private async poll(): Promise<boolean> {
    const { world, recorder, random, manner } = this;
    const slot = world.anyProxy(random);
    if (slot === undefined) return false;
    const connection = recorder.began('poll', slot.name);
    const query = new URLSearchParams({
      topics: recorder.topics.join(','),
      client_id: recorder.clientId,
      from: recorder.from,
      delivery: recorder.guarantee,
      timeout: String(world.mood === 'wild' ? random.whole(0, 2) : 1),
      max: String(random.pick([3, 20, 100, 1000])),
      ack_timeout: String(manner.ackTimeoutSeconds),
    });
    const { token } = world;
    const answer = await ask(world, slot, 'GET', `/api/v1/poll?${query.toString()}`, { token });
    if (!this.isFine(answer)) return false;
    this.noteOpening(connection);
    const { messages, gaps } = answer.body as Polled;
    for (const { topic, from, to, reason } of gaps ?? [])
      recorder.record({ type: 'GapTold', topic, from, to, reason, connection });
    for (const { message_id: messageId, payload, attempt = 1 } of messages) {
      const text = JSON.stringify(payload);
      recorder.record({ type: 'Delivered', messageId, payload: text, attempt, connection });
    }
    const ids = messages.map(({ message_id }) => message_id);
    if (ids.length > 0 && recorder.guarantee === 'at_least_once') await this.settle(ids, connection);
    return true;
  }

  private async settle(ids: readonly string[], connection: number): Promise<void> {
    const { world, random, manner } = this;
    if (world.mood !== 'wild') return this.ack(ids, connection);
    const kept = ids.filter(() => random.chance(0.9));
    const late = random.next();
    if (late < 0.1) {
      setTimeout(
        () => void this.ack(kept, connection),
        manner.ackTimeoutSeconds * 1000 + random.whole(-200, 300),
      ).unref();
      return;
    }
    await this.ack(kept, connection);
    const given = ids.filter((id) => !kept.includes(id) && random.chance(0.3));
    if (given.length > 0) await this.ask('nack', { message_ids: given, delay: random.whole(0, 1) });
  }

  private async ack(messageIds: readonly string[], connection: number): Promise<void> {
    if (messageIds.length === 0) return;
    const { recorder } = this;
    recorder.record({ type: 'AckSent', messageIds, connection });
    const answer = await this.ask('ack', { message_ids: messageIds });
    if (answer === undefined) return;
    const { unknown } = answer.body;
    const confirmed = messageIds.filter((id) => !unknown.includes(id));
    recorder.record({ type: 'AckConfirmed', messageIds: confirmed, connection });
  }

  private async ask(
    what: 'ack' | 'nack',
    body: Readonly<Record<string, unknown>>,
  ): Promise<Answer | undefined> {
    const { world, recorder, random } = this;
    const slot = world.anyProxy(random);
    if (slot === undefined) return undefined;
    const answer = await ask(world, slot, 'POST', `/api/v1/${what}`, {
      token: world.token,
      body: { ...body, client_id: recorder.clientId },
    });
    return this.isFine(answer) ? answer : undefined;
  }

  private isFine(answer: Answer | NoAnswer): answer is Answer {
    if (typeof answer === 'string') return false;
    if (answer.status === 200) return true;
    const code = answer.text.startsWith('{') ? answer.body.code : '';
    if (!EXCUSED.has(code))
      this.world.surprise(
        `${this.recorder.clientId} was answered ${answer.status} ${answer.text.slice(0, 300)}`,
      );
    return false;
  }

  /**
   * The first poll opens the subscription, and so does the first one after everything was deleted: a poll is not told
   * whether it did.
   */
  private noteOpening(connection: number): void {
    const { beganMs } = this.recorder.connections[connection]!;
    if (this.openedMs > this.world.flushedMs) return;
    if (beganMs <= this.world.flushedMs) return;
    this.recorder.record({ type: 'Opened', recovered: false, connection });
    this.openedMs = beganMs;
  }
}
