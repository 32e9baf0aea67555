/**
 * Polls under generated interleavings: several of one client_id on two instances, while every call to the store takes
 * as long as it likes and may fail.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { Caller } from '../../application/poll-messages.js';
import type { Guarantee } from '../../domain/delivery/guarantee.js';
import { formatMessageId, type MessageId } from '../../domain/message/message-id.js';
import { anInstance, Backend, idsOf, type Instance } from '../support/instance.js';
import { settle } from '../support/settle.js';
import type { Fault } from '../support/unreliable-store.js';

const TOPICS = ['a', 'b'];
const ACK_TIMEOUT_MS = 1_000;

type Step =
  | { readonly do: 'publish'; readonly topic: number; readonly count: number }
  | { readonly do: 'poll'; readonly at: number; readonly timeoutMs: number; readonly max: number }
  | { readonly do: 'hangUp' }
  | { readonly do: 'acknowledge'; readonly at: number; readonly picks: readonly number[] }
  | { readonly do: 'pass'; readonly ms: number }
  /** One call to the store gets on, either to it or back. */
  | { readonly do: 'answer'; readonly which: number }
  /** From now on calls wait for that, or they do not and all that waited get on. */
  | { readonly do: 'slow'; readonly isSlow: boolean }
  | { readonly do: 'fail'; readonly fault: Fault };

const name = <Name extends Step['do']>(step: Name) => fc.constant(step);
const place = fc.nat(1);

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: name('publish'), topic: place, count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: name('poll'),
      at: place,
      timeoutMs: fc.constantFrom(0, 300, 30_000),
      max: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: name('hangUp') }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: name('acknowledge'),
      at: place,
      picks: fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: name('pass'), ms: fc.constantFrom(100, 400, 1_100) }) },
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

const keyOf = ({ topic, offset }: MessageId): string => formatMessageId(topic, offset);

class World {
  readonly backend = new Backend();
  readonly instances: readonly Instance[] = [0, 1].map(() => anInstance(this.backend));
  readonly published = new Set<string>();
  /** How often each message was given to the client. */
  readonly given = new Map<string, number>();
  readonly broken: string[] = [];
  private readonly received: MessageId[] = [];
  /** The earliest instant at which each message may be given again. */
  private readonly notBefore = new Map<string, number>();
  private readonly acknowledged = new Set<string>();
  private readonly held: (() => void)[] = [];
  private readonly faults: Fault[] = [];
  private isSlow = false;
  private readonly waiting = new Set<Caller>();

  constructor(
    private readonly guarantee: Guarantee,
    private readonly maxInFlight: number,
  ) {
    for (const { store } of this.instances) {
      store.canPeek = false;
      store.delay = () =>
        this.isSlow ? new Promise((resolve) => this.held.push(resolve)) : Promise.resolve();
      store.fault = () => this.faults.shift();
    }
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case 'publish': {
        const payloads = Array.from({ length: step.count }, () => '1');
        for (const id of await this.backend.publish(TOPICS[step.topic]!, ...payloads))
          this.published.add(keyOf(id));
        break;
      }
      case 'poll':
        void this.poll(this.instances[step.at]!, step.timeoutMs, step.max);
        break;
      case 'hangUp':
        for (const caller of this.waiting) caller.hangUp();
        break;
      case 'acknowledge':
        void this.acknowledge(this.instances[step.at]!, step.picks);
        break;
      case 'pass':
        await this.backend.pass(step.ms);
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

  /** From here on nothing fails, and the client polls and acknowledges until there is nothing left. */
  async heal(): Promise<void> {
    this.faults.length = 0;
    this.letPass(true);
    for (const { polls } of this.instances) polls.drain();
    await settle();
    await this.backend.pass(ACK_TIMEOUT_MS + 100);
    for (let known = -1; known < this.received.length;) {
      known = this.received.length;
      const ids = await this.poll(this.instances[0]!, 0, 100);
      await this.instances[1]!.acknowledge(ids)();
    }
  }

  async poll(instance: Instance, timeoutMs: number, max: number): Promise<readonly MessageId[]> {
    const caller = new Caller();
    this.waiting.add(caller);
    const startedAt = this.backend.clock.now();
    const isDone = new Set(this.acknowledged);
    const { guarantee, maxInFlight } = this;
    const answer = await instance.polling(
      {
        ...{ topics: TOPICS, start: { at: 'earliest' }, ackTimeoutMs: ACK_TIMEOUT_MS },
        ...{ guarantee, maxInFlight, timeoutMs, max },
      },
      caller,
    )();
    this.waiting.delete(caller);
    if (E.isLeft(answer)) return [];
    const ids = idsOf(answer.right);
    this.require(ids.length <= max, `${ids.length} messages were more than ${max}`);
    // Whoever hung up hears nothing, and what it would have heard is for others.
    if (caller.isGone) return [];
    const now = this.backend.clock.now();
    for (const id of ids) {
      const key = keyOf(id);
      this.require(!isDone.has(key), `${key} was acknowledged and came again`);
      this.require(now >= (this.notBefore.get(key) ?? 0), `${key} came again before its time was up`);
      this.notBefore.set(key, startedAt + ACK_TIMEOUT_MS);
      this.given.set(key, (this.given.get(key) ?? 0) + 1);
      this.received.push(id);
    }
    return ids;
  }

  private async acknowledge(instance: Instance, picks: readonly number[]): Promise<void> {
    if (this.received.length === 0) return;
    const ids = picks.map((i) => this.received[i % this.received.length]!);
    const answer = await instance.acknowledge(ids)();
    if (E.isLeft(answer)) return;
    this.require(answer.right.unknown.length === 0, 'a delivered message was unknown');
    for (const id of ids) this.acknowledged.add(keyOf(id));
  }

  private letPass(doesPass: boolean): void {
    this.isSlow = !doesPass;
    if (doesPass) for (const release of this.held.splice(0)) release();
  }

  private require(holds: boolean, otherwise: string): void {
    if (!holds) this.broken.push(otherwise);
  }
}

const runs = (guarantee: Guarantee, law: (world: World) => void): Promise<void> =>
  fc.assert(
    fc.asyncProperty(
      fc.array(anyStep, { minLength: 10, maxLength: 60 }),
      fc.integer({ min: 1, max: 6 }),
      async (steps, maxInFlight) => {
        const world = new World(guarantee, maxInFlight);
        await world.poll(world.instances[0]!, 0, 1);
        for (const step of steps) await world.run(step);
        await world.heal();
        expect(world.broken).to.deep.equal([]);
        law(world);
      },
    ),
    { numRuns: 700 },
  );

describe('Polls, whatever happens', () => {
  it('give every message at least once, to one at a time, and never again once acknowledged', async () => {
    await runs('at_least_once', ({ published, given }) => {
      expect([...published].filter((key) => !given.has(key))).to.deep.equal([]);
    });
  });

  it('give no message twice where at-most-once is promised', async () => {
    await runs('at_most_once', ({ given }) => {
      expect([...given].filter(([, times]) => times > 1)).to.deep.equal([]);
    });
  });
});
