/**
 * Sessions under generated interleavings: publishes, acknowledgements, slow connections, reconnects and takeovers come
 * in any order while every call to the store takes as long as it likes and may fail.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { either as E, function as F } from 'fp-ts';
import type { MessageBatch, Written } from '../../application/ports/client-connection.js';
import { topicStream } from '../../application/ports/event-store.js';
import type { Session } from '../../application/session.js';
import type { Guarantee } from '../../domain/delivery/guarantee.js';
import type { MessageId } from '../../domain/message/message-id.js';
import { formatMessageId, parseMessageId } from '../../domain/message/message-id.js';
import { aTopic, messages } from '../support/builders.js';
import { anInstance, Backend, identityOf, type Instance } from '../support/instance.js';
import { RecordingConnection, type Delivery } from '../support/recording-connection.js';
import { settle } from '../support/settle.js';
import { right } from '../support/task-either.js';
import type { Fault } from '../support/unreliable-store.js';

const TOPICS = ['a', 'b'];
const ACK_TIMEOUT_MS = 1_000;

type Step =
  | { readonly do: 'publish'; readonly topic: number; readonly count: number }
  | { readonly do: 'acknowledge'; readonly picks: readonly number[] }
  | { readonly do: 'acknowledgeByHttp'; readonly at: number; readonly picks: readonly number[] }
  | { readonly do: 'fill' }
  | { readonly do: 'drain' }
  | { readonly do: 'pass'; readonly ms: number }
  /** The connection is gone, and the client opens another. */
  | { readonly do: 'reconnect'; readonly at: number }
  /** The client opens another connection; nobody noticed that the first is gone. */
  | { readonly do: 'takeOver'; readonly at: number }
  /** One call to the store gets on, either to it or back. */
  | { readonly do: 'answer'; readonly which: number }
  /** From now on calls wait for that, or they do not and all that waited get on. */
  | { readonly do: 'slow'; readonly isSlow: boolean }
  | { readonly do: 'fail'; readonly fault: Fault };

const name = <Name extends Step['do']>(step: Name) => fc.constant(step);
const picks = fc.array(fc.nat(20), { minLength: 1, maxLength: 4 });
const place = fc.nat(1);

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: name('publish'), topic: place, count: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 5, arbitrary: fc.record({ do: name('acknowledge'), picks }) },
  { weight: 2, arbitrary: fc.record({ do: name('acknowledgeByHttp'), at: place, picks }) },
  { weight: 1, arbitrary: fc.record({ do: name('fill') }) },
  { weight: 2, arbitrary: fc.record({ do: name('drain') }) },
  { weight: 3, arbitrary: fc.record({ do: name('pass'), ms: fc.constantFrom(100, 250, 1_100) }) },
  { weight: 1, arbitrary: fc.record({ do: name('reconnect'), at: place }) },
  { weight: 1, arbitrary: fc.record({ do: name('takeOver'), at: place }) },
  { weight: 8, arbitrary: fc.record({ do: name('answer'), which: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: name('slow'), isSlow: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: name('fail'),
      fault: fc.constantFrom<Fault[]>('not_stored', 'lost', 'unanswered'),
    }),
  },
);

const keyOf = (topic: string, offset: number): string => formatMessageId(aTopic(topic), offset as never);

const toId = (key: string): MessageId =>
  F.pipe(
    parseMessageId(key),
    E.getOrElseW(({ input }) => expect.fail(input)),
  );

/** One connection of the client, and what it knows by having seen every delivery on it. */
class Connection extends RecordingConnection {
  session: Session | undefined;
  /** Another connection has been opened since; this one need not have heard of it. */
  isOld = false;
  readonly acknowledged = new Set<string>();
  private readonly attempts = new Map<string, number>();
  private readonly lastNew = new Map<string, number>();

  constructor(private readonly world: World) {
    super();
  }

  override deliver(batch: MessageBatch, attempt: number): Written {
    const known = this.deliveries.length;
    const written = super.deliver(batch, attempt);
    this.world.require(this.overruns === 0, 'a full connection was written to');
    for (const delivery of this.deliveries.slice(known)) this.check(delivery);
    return written;
  }

  unacknowledged(): readonly string[] {
    return [...this.attempts.keys()].filter((key) => !this.acknowledged.has(key));
  }

  private check({ topic, offset, n, attempt }: Delivery): void {
    const { world } = this;
    const key = keyOf(topic, offset);
    world.delivered.set(key, (world.delivered.get(key) ?? 0) + 1);
    world.require(!this.acknowledged.has(key), `${key} was acknowledged here and came again`);
    world.require(this.isOld || !world.recorded.has(key), `the acknowledgement of ${key} was confirmed`);
    world.require(attempt > (this.attempts.get(key) ?? 0), `${key} came again as attempt ${attempt}`);
    this.attempts.set(key, attempt);
    if (attempt === 1) {
      const last = this.lastNew.get(topic);
      world.require(last === undefined || n === last + 1, `${topic}: ${n} came after ${last}`);
      this.lastNew.set(topic, n);
    }
    if (world.guarantee === 'at_most_once') return;
    const inFlight = this.unacknowledged().filter((waiting) => !world.sentByHttp.has(waiting));
    world.require(inFlight.length <= world.maxInFlight, `${inFlight.length} are in flight`);
  }
}

class World {
  readonly backend = new Backend();
  readonly instances: readonly Instance[];
  /** How often each message was delivered, on whichever connection. */
  readonly delivered = new Map<string, number>();
  /** Acknowledgements that are on their way, or have arrived. */
  readonly sentByHttp = new Set<string>();
  /** Acknowledgements that were confirmed, and that whoever holds the subscription knows of. */
  readonly recorded = new Set<string>();
  /** Confirmed by the other instance: known to whoever opens the subscription from now on. */
  private readonly recordedElsewhere = new Set<string>();
  readonly published = new Set<string>();
  readonly broken: string[] = [];
  private readonly held: (() => void)[] = [];
  private readonly faults: Fault[] = [];
  private isSlow = false;
  private connection = new Connection(this);

  constructor(
    readonly guarantee: Guarantee,
    readonly maxInFlight: number,
  ) {
    this.instances = [0, 1].map(() => anInstance(this.backend));
    for (const { store } of this.instances) {
      store.canPeek = false;
      store.delay = () =>
        this.isSlow ? new Promise((resolve) => this.held.push(resolve)) : Promise.resolve();
      store.fault = () => this.faults.shift();
    }
  }

  require(holds: boolean, otherwise: string): void {
    if (!holds) this.broken.push(otherwise);
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case 'publish':
        await this.publish(TOPICS[step.topic]!, step.count);
        break;
      case 'acknowledge':
        this.acknowledge(this.pick(step.picks));
        break;
      case 'acknowledgeByHttp':
        void this.acknowledgeByHttp(this.instances[step.at]!, this.pick(step.picks));
        break;
      case 'fill':
        this.connection.answer = 'full';
        break;
      case 'drain':
        this.drain();
        break;
      case 'pass':
        await this.backend.pass(step.ms);
        break;
      case 'reconnect':
        this.reconnect(this.instances[step.at]!);
        break;
      case 'takeOver':
        this.open(this.instances[step.at]!);
        break;
      case 'answer':
        if (this.held.length > 0) this.held.splice(step.which % this.held.length, 1)[0]!();
        break;
      case 'slow':
        this.letPass(!step.isSlow);
        break;
      case 'fail':
        this.faults.push(step.fault);
        break;
    }
    await settle();
  }

  /** From here on nothing fails, and the client acknowledges whatever it gets. */
  async heal(): Promise<void> {
    this.faults.length = 0;
    this.letPass(true);
    await settle();
    this.reconnect(this.instances[0]!);
    for (let round = 0; round < 60; round++) {
      await settle();
      this.drain();
      this.acknowledge(this.connection.unacknowledged().map(toId));
      if (round % 10 === 9) await this.backend.pass(ACK_TIMEOUT_MS + 300);
    }
  }

  /** The client takes whatever it gets, and nothing else happens: no time passes. */
  async takeAll(): Promise<void> {
    this.letPass(true);
    this.connection.answer = 'sent';
    for (let known = -1; known < this.connection.deliveries.length;) {
      known = this.connection.deliveries.length;
      await settle();
      if (this.connection.isFull) this.drain();
      this.acknowledge(this.connection.unacknowledged().map(toId));
      await settle();
    }
  }

  private letPass(doesPass: boolean): void {
    this.isSlow = !doesPass;
    if (doesPass) for (const release of this.held.splice(0)) release();
  }

  reconnect(instance: Instance): void {
    const { session } = this.connection;
    this.connection.answer = 'closed';
    if (session !== undefined) for (const { sessions } of this.instances) void sessions.end(session);
    this.open(instance);
  }

  private open(instance: Instance): void {
    this.connection.isOld = true;
    const connection = new Connection(this);
    this.connection = connection;
    for (const key of this.recordedElsewhere) this.recorded.add(key);
    const wanted = { topics: TOPICS, guarantee: this.guarantee, start: { at: 'earliest' } as const };
    const { maxInFlight } = this;
    void instance
      .opening({ ...wanted, maxInFlight, ackTimeoutMs: ACK_TIMEOUT_MS }, connection)()
      .then((opened) => {
        if (E.isLeft(opened)) return;
        connection.session = opened.right.session;
        opened.right.session.deliver();
      });
  }

  private async publish(topic: string, count: number): Promise<void> {
    const cursors = await right(
      this.backend.store.append(topicStream(aTopic(topic)), messages(count, this.published.size)),
    );
    for (const { offset } of cursors) this.published.add(keyOf(topic, offset));
  }

  private pick(chosen: readonly number[]): readonly MessageId[] {
    const { deliveries } = this.connection;
    if (deliveries.length === 0) return [];
    const places = new Set(chosen.map((i) => i % deliveries.length));
    return [...places].map((i) => ({ topic: deliveries[i]!.topic, offset: deliveries[i]!.offset }));
  }

  private acknowledge(ids: readonly MessageId[]): void {
    const { session, acknowledged } = this.connection;
    if (session === undefined || session.hasEnded || ids.length === 0) return;
    for (const { topic, offset } of ids) acknowledged.add(keyOf(topic, offset));
    this.require(session.acknowledge(ids).length === 0, 'a delivered message was unknown');
    void session.commit().then((isRecorded) => {
      if (isRecorded && !session.hasEnded) this.confirm(ids, this.recorded);
    });
  }

  private async acknowledgeByHttp(instance: Instance, ids: readonly MessageId[]): Promise<void> {
    for (const { topic, offset } of ids) this.sentByHttp.add(keyOf(topic, offset));
    const session = instance.sessions.find(identityOf({}));
    const answer = await instance.acknowledge(ids)();
    if (E.isLeft(answer)) return;
    const unknown = new Set(answer.right.unknown.map(({ topic, offset }) => keyOf(topic, offset)));
    const confirmed = ids.filter(({ topic, offset }) => !unknown.has(keyOf(topic, offset)));
    this.confirm(confirmed, session?.hasEnded === false ? this.recorded : this.recordedElsewhere);
  }

  private confirm(ids: readonly MessageId[], recorded: Set<string>): void {
    for (const { topic, offset } of ids) recorded.add(keyOf(topic, offset));
  }

  private drain(): void {
    this.connection.drain();
    this.connection.session?.onWritable();
  }
}

const runs = (guarantee: Guarantee, law: (world: World) => void): Promise<void> =>
  fc.assert(
    fc.asyncProperty(
      fc.array(anyStep, { minLength: 10, maxLength: 60 }),
      fc.integer({ min: 1, max: 6 }),
      async (steps, maxInFlight) => {
        const world = new World(guarantee, maxInFlight);
        world.reconnect(world.instances[0]!);
        await settle();
        for (const step of steps) await world.run(step);
        await world.heal();
        expect(world.broken).to.deep.equal([]);
        law(world);
      },
    ),
    { numRuns: 1_000 },
  );

describe('Sessions, whatever happens', () => {
  it('deliver every message at least once, in order, within the credit, and never again once acknowledged', async () => {
    await runs('at_least_once', ({ published, delivered }) => {
      expect([...published].filter((key) => !delivered.has(key))).to.deep.equal([]);
    });
  });

  it('deliver no message twice where at-most-once is promised', async () => {
    await runs('at_most_once', ({ delivered }) => {
      expect([...delivered].filter(([, times]) => times > 1)).to.deep.equal([]);
    });
  });

  for (const guarantee of ['at_least_once', 'at_most_once'] as const) {
    it(`wake up by themselves for everything there is, ${guarantee}`, async () => {
      const isPeaceful = ({ do: what }: Step): boolean =>
        ['publish', 'acknowledge', 'fill', 'drain', 'answer', 'slow'].includes(what);
      await fc.assert(
        fc.asyncProperty(
          fc.array(anyStep.filter(isPeaceful), { maxLength: 40 }),
          fc.integer({ min: 1, max: 6 }),
          async (steps, maxInFlight) => {
            const world = new World(guarantee, maxInFlight);
            world.reconnect(world.instances[0]!);
            await settle();
            for (const step of steps) await world.run(step);
            await world.takeAll();
            expect(world.broken).to.deep.equal([]);
            expect([...world.published].filter((key) => world.delivered.get(key) !== 1)).to.deep.equal([]);
          },
        ),
        { numRuns: 500 },
      );
    });
  }
});
