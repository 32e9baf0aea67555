/**
 * A service in use: producers and subscribers of every kind, all at once, each deciding by its own stream of chance.
 * While a scenario breaks things they go on; afterwards everything is drained, so that the checker can ask where every
 * message went.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { signToken } from '../support/proxy.js';
import type { Random } from '../support/random.js';
import { HistoryRecorder, isMatched, type SubscriptionRecorder } from './history.js';
import type { Installation } from './installation.js';
import { PollSubscriber } from './poll-subscriber.js';
import { Producer } from './producer.js';
import { SocketSubscriber, type SocketManner } from './socket-subscriber.js';
import { World } from './world.js';

export interface WorkloadOptions {
  readonly producers?: number;
  /** At-least-once on WebSockets. */
  readonly sockets?: number;
  /** At-most-once, on WebSockets and, every other one, by polls. */
  readonly atMostOnce?: number;
  /** At-least-once by polls. */
  readonly pollers?: number;
  /** The longest pause of a producer between two requests. */
  readonly pauseMs?: number;
  /** How long a socket stays at most. */
  readonly stayMs?: number;
  /** Bytes that each payload is longer than it has to be. */
  readonly padding?: number;
}

/** All under one name, so that a scenario can publish beside it. */
const TOPICS = ['load.orders.eu', 'load.orders.us', 'load.news', 'load.logs.app.web', 'load.logs.app.api'];
const INTERESTS = [
  ['load.orders.eu'],
  ['load.orders.*'],
  ['load.>'],
  ['load.logs.>', 'load.news'],
  ['load.orders.us', 'load.logs.app.web'],
];
const ACKS: readonly SocketManner['acks'][] = ['each', 'batch', 'up_to'];
/** Fewer would make a client that leaves some unacknowledged slower than the producers. */
const MAX_IN_FLIGHT = [1000, 200, 50];

/** After healing, what is published has to be everywhere within this; clients that are away come back meanwhile. */
const PROGRESS_WITHIN_MS = 20_000;
/** What draining may take at most; what is still missing then is for the checker to say. */
const DRAIN_MAX_MS = 40_000;
const OPENED_WITHIN_MS = 20_000;
/**
 * Longer than an acknowledgement timeout and the wait after it: when nothing has come for so long, nothing is waiting
 * to come again.
 */
const QUIET_MS = 4_000;

export class Workload {
  readonly history = new HistoryRecorder();
  readonly world: World;
  private readonly tasks: Promise<void>[] = [];
  private readonly publishing: Promise<void>[] = [];
  private readonly prober: Producer;

  private constructor(
    installation: Installation,
    token: string,
    private readonly random: Random,
    private readonly options: WorkloadOptions,
  ) {
    this.world = new World(installation, this.history, token);
    this.prober = this.aProducer('probe');
  }

  static async of(
    installation: Installation,
    random: Random,
    options: WorkloadOptions = {},
  ): Promise<Workload> {
    const token = await signToken('faults', { topics: { publish: ['>'], subscribe: ['>'] } });
    return new Workload(installation, token, random, options);
  }

  /** Everybody begins; resolves when every subscription is open. */
  async start(): Promise<void> {
    this.begin();
    await this.until(() => this.history.subscriptions.every(({ isOpened }) => isOpened), OPENED_WITHIN_MS);
  }

  /** Everybody goes, however far things are: a scenario that has failed must not go on under the next one. */
  abandon(): void {
    this.world.isPublishing = false;
    this.world.mood = 'over';
  }

  /** Goes on for a while. */
  async runFor(ms: number): Promise<void> {
    await delay(ms);
  }

  /** The storage may have lost what was written between these two. */
  mayHaveForgotten(fromMs: number, toMs: number): void {
    this.history.forgotten.push({ fromMs, toMs });
  }

  /** To be called when nothing is broken any more: waits until everything is ready and everybody gets new messages. */
  async heal(): Promise<void> {
    const { history, world } = this;
    await world.installation.isReady();
    const healedMs = history.nowMs();
    const probes = await Promise.all(
      TOPICS.map(async (topic) => ({
        topic,
        payload: await this.prober.publishOne(topic),
        healedMs,
        withinMs: PROGRESS_WITHIN_MS,
      })),
    );
    history.probes.push(...probes);
    const waiting = this.owedSubscriptions();
    await this.until(
      () =>
        waiting.every(({ topics, payloadsReceived }) =>
          probes.every(({ topic, payload }) => !isMatched(topics, topic) || payloadsReceived.has(payload)),
        ),
      healedMs + PROGRESS_WITHIN_MS - history.nowMs(),
    );
  }

  /** Publishing ends, everything that is under way is delivered and acknowledged, and everybody goes. */
  async drain(): Promise<void> {
    const { history, world } = this;
    world.isPublishing = false;
    await Promise.all(this.publishing);
    world.mood = 'calm';
    await this.until(() => this.isDrained(), DRAIN_MAX_MS);
    world.mood = 'over';
    await Promise.all(this.tasks);
    history.stored.push(...(await world.installation.stored()));
  }

  private begin(): void {
    const { producers = 3, sockets = 6, atMostOnce = 3, pollers = 3 } = this.options;
    for (let i = 0; i < sockets; i++) this.addSocket(i, `socket-${i}`, 'at_least_once');
    for (let i = 0; i < pollers; i++) this.addPoller(i, `poller-${i}`, 'at_least_once');
    for (let i = 0; i < atMostOnce; i++) {
      if (i % 2 === 0) this.addSocket(i, `once-${i}`, 'at_most_once');
      else this.addPoller(i, `once-${i}`, 'at_most_once');
    }
    for (let i = 0; i < producers; i++) this.publishing.push(this.aProducer(`p${i}`).run());
  }

  private aProducer(name: string): Producer {
    const { pauseMs = 40, padding = 0 } = this.options;
    return new Producer(this.world, name, this.random.fork(name), { pauseMs, padding, topics: TOPICS });
  }

  private addSocket(i: number, clientId: string, guarantee: SubscriptionRecorder['guarantee']): void {
    const random = this.random.fork(clientId);
    const manner: SocketManner = {
      acks: ACKS[i % ACKS.length]!,
      maxInFlight: MAX_IN_FLIGHT[Math.floor(i / 2) % MAX_IN_FLIGHT.length]!,
      ackTimeoutSeconds: random.pick([1, 1.5, 2]),
      stayMs: this.options.stayMs ?? 5_000,
    };
    const recorder = this.aRecorder(i, clientId, guarantee);
    this.tasks.push(new SocketSubscriber(this.world, recorder, random, manner).run());
  }

  private addPoller(i: number, clientId: string, guarantee: SubscriptionRecorder['guarantee']): void {
    const random = this.random.fork(clientId);
    const manner = { ackTimeoutSeconds: random.pick([1, 1.5, 2]) };
    const recorder = this.aRecorder(i + 2, clientId, guarantee);
    this.tasks.push(new PollSubscriber(this.world, recorder, random, manner).run());
  }

  private aRecorder(
    i: number,
    clientId: string,
    guarantee: SubscriptionRecorder['guarantee'],
  ): SubscriptionRecorder {
    const topics = INTERESTS[i % INTERESTS.length]!;
    return this.history.subscription(clientId, guarantee, topics, i % 2 === 0 ? 'earliest' : 'latest');
  }

  private owedSubscriptions(): readonly SubscriptionRecorder[] {
    return this.history.subscriptions.filter(({ guarantee }) => guarantee === 'at_least_once');
  }

  /** Has everybody got the newest messages, and has it been quiet since? */
  private isDrained(): boolean {
    const stored = this.history.publishes.filter(({ outcome }) => outcome === 'stored');
    const newest = new Map(stored.map((publish) => [publish.topic, publish]));
    const quietSinceMs = this.history.nowMs() - QUIET_MS;
    return this.owedSubscriptions().every(
      ({ topics, payloadsReceived, deliveredMs }) =>
        deliveredMs < quietSinceMs &&
        [...newest.values()].every(
          ({ topic, payload }) => !isMatched(topics, topic) || payloadsReceived.has(payload),
        ),
    );
  }

  private async until(isSo: () => boolean, timeoutMs: number): Promise<void> {
    const deadlineMs = this.history.nowMs() + timeoutMs;
    while (!isSo() && this.history.nowMs() < deadlineMs) await delay(50);
  }
}
