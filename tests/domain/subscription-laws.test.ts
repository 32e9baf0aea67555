/** The laws of a subscription, over generated histories, and against a model that thinks of one message at a time. */
import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { replay } from '../../domain/decider.js';
import type { Guarantee } from '../../domain/delivery/guarantee.js';
import type { Cursor, Offset } from '../../domain/message/offset.js';
import type { SubscriptionEvent } from '../../domain/subscription/subscription-events.js';
import {
  credit,
  subscription,
  toSnapshot,
  type Subscription,
  type SubscriptionCommand,
} from '../../domain/subscription/subscription.js';
import { dueAt, settlementOf, type TopicPosition } from '../../domain/subscription/topic-position.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import { aCursor, aPattern, aTopic, someSettings } from '../support/builders.js';

const TOPICS = [aTopic('a'), aTopic('b')];
const ACK_TIMEOUT_MS = 20;

/** What happens next, in terms of places: `picks` choose among the messages looked at so far, known or not. */
type Step =
  | { readonly do: 'dispatch'; readonly topic: number; readonly skipped: number; readonly count: number }
  | { readonly do: 'redeliver'; readonly topic: number; readonly limit: number }
  | { readonly do: 'acknowledge'; readonly topic: number; readonly picks: readonly number[] }
  | {
      readonly do: 'reject';
      readonly topic: number;
      readonly picks: readonly number[];
      readonly delay: number;
    }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'skip'; readonly topic: number; readonly count: number }
  | { readonly do: 'takeOver' }
  | { readonly do: 'resize'; readonly maxInFlight: number };

const name = <Name extends Step['do']>(step: Name) => fc.constant(step);
const topic = fc.nat(TOPICS.length - 1);
const picks = fc.array(fc.nat(30), { minLength: 1, maxLength: 6 });

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: name('dispatch'),
      topic,
      skipped: fc.nat(2),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: name('redeliver'), topic, limit: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: name('acknowledge'), topic, picks }) },
  { weight: 2, arbitrary: fc.record({ do: name('reject'), topic, picks, delay: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ do: name('pass'), ms: fc.integer({ min: 1, max: 30 }) }) },
  { weight: 1, arbitrary: fc.record({ do: name('skip'), topic, count: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: name('takeOver') }) },
  { weight: 1, arbitrary: fc.record({ do: name('resize'), maxInFlight: fc.integer({ min: 1, max: 10 }) }) },
);

/** What the model remembers of a message that was given and not acknowledged. */
interface Waiting {
  readonly attempt: number;
  /** Until when it is with the client; undefined: it is to be given again. */
  readonly deadline: number | undefined;
}

/** A subscription, the history that made it, and the model that it is compared with. */
class History {
  state: Subscription;
  now = 0;
  readonly events: SubscriptionEvent[] = [];
  readonly model = new Map<TopicName, Map<Offset, Waiting>>(TOPICS.map((each) => [each, new Map()]));
  /** Every offset as often as it was given to the client, per topic. */
  readonly given = new Map<TopicName, Offset[]>(TOPICS.map((each) => [each, []]));
  private sessions = 0;

  constructor(
    readonly guarantee: Guarantee,
    public maxInFlight: number,
  ) {
    this.state = subscription.initialState;
    this.open();
  }

  position(of: TopicName): TopicPosition {
    return this.state.positions.get(of)!;
  }

  run(step: Step): void {
    switch (step.do) {
      case 'dispatch':
        this.dispatch(TOPICS[step.topic]!, step.skipped, step.count);
        break;
      case 'redeliver':
        this.redeliver(TOPICS[step.topic]!, step.limit);
        break;
      case 'acknowledge': {
        const offsets = step.picks.map((n) => aCursor(n).offset);
        this.decide({ type: 'Acknowledge', topic: TOPICS[step.topic]!, offsets });
        for (const offset of offsets) this.model.get(TOPICS[step.topic]!)!.delete(offset);
        break;
      }
      case 'reject':
        this.reject(TOPICS[step.topic]!, step.picks, this.now + step.delay);
        break;
      case 'pass':
        this.pass(step.ms);
        break;
      case 'skip':
        this.skip(TOPICS[step.topic]!, step.count);
        break;
      case 'takeOver':
        this.sessions += 1;
        this.open();
        break;
      case 'resize':
        this.maxInFlight = step.maxInFlight;
        this.open();
        break;
    }
  }

  decide(command: SubscriptionCommand): boolean {
    const decided = subscription.decide(this.state, command);
    if (E.isLeft(decided)) return false;
    this.events.push(...decided.right);
    this.state = replay(subscription, this.state, decided.right);
    return true;
  }

  get waiting(): number {
    return [...this.model.values()].reduce((sum, messages) => sum + messages.size, 0);
  }

  private open(): void {
    this.decide({
      type: 'Open',
      guarantee: this.guarantee,
      settings: someSettings({ ackTimeoutMs: ACK_TIMEOUT_MS, maxInFlight: this.maxInFlight }),
      topics: TOPICS.map(aPattern),
      starts: TOPICS.map((each) => ({ topic: each, at: aCursor(0) })),
      topicsMax: 10,
      session: `s${this.sessions}`,
    });
  }

  private dispatch(to: TopicName, skipped: number, count: number): void {
    const first = this.position(to).next.n + 1 + skipped;
    const cursors = Array.from({ length: count }, (_, i) => aCursor(first + i));
    const next = cursors[cursors.length - 1]!;
    const hasRoom =
      this.guarantee === 'at_most_once'
        ? count <= this.maxInFlight
        : this.waiting + count <= this.maxInFlight;
    const isGiven = this.decide({ type: 'Dispatch', topic: to, next, cursors, attempt: 1, now: this.now });
    expect(isGiven).to.equal(hasRoom);
    if (isGiven) this.give(to, cursors, 1);
  }

  private redeliver(to: TopicName, limit: number): void {
    const position = this.position(to);
    const due = dueAt(position, this.now, limit);
    const attempt = due[0]?.attempt;
    if (attempt === undefined) return;
    const cursors = due.map(({ cursor }) => cursor);
    const { next } = position;
    expect(this.decide({ type: 'Dispatch', topic: to, next, cursors, attempt, now: this.now })).to.be.true;
    this.give(to, cursors, attempt);
  }

  private give(to: TopicName, cursors: readonly Cursor[], attempt: number): void {
    for (const { offset } of cursors) {
      this.given.get(to)!.push(offset);
      if (this.guarantee === 'at_most_once') continue;
      this.model.get(to)!.set(offset, { attempt, deadline: this.now + ACK_TIMEOUT_MS });
    }
  }

  private reject(from: TopicName, places: readonly number[], notBefore: number): void {
    const offsets = places.map((n) => aCursor(n).offset);
    this.decide({ type: 'Reject', topic: from, offsets, notBefore });
    const messages = this.model.get(from)!;
    for (const offset of new Set(offsets)) {
      const waiting = messages.get(offset);
      if (waiting !== undefined) messages.set(offset, back(waiting));
    }
  }

  private pass(ms: number): void {
    this.now += ms;
    this.decide({ type: 'Expire', now: this.now });
    for (const messages of this.model.values()) {
      for (const [offset, waiting] of messages) {
        if ((waiting.deadline ?? Infinity) <= this.now) messages.set(offset, back(waiting));
      }
    }
  }

  private skip(of: TopicName, count: number): void {
    const next = aCursor(this.position(of).next.n + count);
    this.decide({ type: 'Dispatch', topic: of, next, cursors: [], attempt: 1, now: this.now });
  }
}

const back = ({ attempt, deadline }: Waiting): Waiting => ({
  attempt: deadline === undefined ? attempt : attempt + 1,
  deadline: undefined,
});

const modelOf = (position: TopicPosition): ReadonlyMap<Offset, Waiting> =>
  new Map<Offset, Waiting>([
    ...position.inFlight.flatMap(({ cursors, attempt, deadline }) =>
      cursors.map(({ offset }) => [offset, { attempt, deadline }] as const),
    ),
    ...position.due.map(({ cursor, attempt }) => [cursor.offset, { attempt, deadline: undefined }] as const),
  ]);

const sorted = (messages: ReadonlyMap<Offset, Waiting>): readonly (readonly [Offset, Waiting])[] =>
  [...messages].sort(([a], [b]) => a - b);

/** Checks `law` after every step of every history. */
const always = (law: (history: History) => void, guarantees: readonly Guarantee[]): void => {
  fc.assert(
    fc.property(
      fc.array(anyStep, { maxLength: 40 }),
      fc.integer({ min: 1, max: 10 }),
      fc.constantFrom(...guarantees),
      (steps, maxInFlight, guarantee) => {
        const history = new History(guarantee, maxInFlight);
        for (const step of steps) {
          history.run(step);
          law(history);
        }
      },
    ),
    { numRuns: 300 },
  );
};

const BOTH: readonly Guarantee[] = ['at_least_once', 'at_most_once'];

describe('Every subscription', () => {
  it('is what its history says: replay equals running state', () => {
    always(({ state, events }) => {
      expect(replay(subscription, subscription.initialState, events)).to.deep.equal(state);
    }, BOTH);
  });

  it('is what its snapshot says', () => {
    always(({ state }) => {
      expect(subscription.evolve(subscription.initialState, toSnapshot(state))).to.deep.equal(state);
    }, BOTH);
  });

  it('waits for the messages that the model waits for, with their attempts and deadlines', () => {
    always((history) => {
      for (const each of TOPICS) {
        expect(sorted(modelOf(history.position(each)))).to.deep.equal(sorted(history.model.get(each)!));
      }
    }, BOTH);
  });

  it('takes an acknowledgement twice as once', () => {
    always(({ state }) => {
      for (const each of TOPICS) {
        const offsets = [3, 1, 4, 1, 5, 9].map((n) => aCursor(n).offset);
        const command: SubscriptionCommand = { type: 'Acknowledge', topic: each, offsets };
        const once = subscription.decide(state, command);
        if (E.isLeft(once)) throw new Error('refused');
        const after = replay(subscription, state, once.right);
        expect(subscription.decide(after, command)).to.deep.equal(E.right([]));
        expect(replay(subscription, after, once.right)).to.deep.equal(after);
      }
    }, BOTH);
  });

  it('never offers an offset twice where at-most-once is promised', () => {
    always(
      ({ given }) => {
        for (const offsets of given.values()) expect(offsets).to.deep.equal([...new Set(offsets)]);
      },
      ['at_most_once'],
    );
  });

  it('never forgets a message that was not acknowledged where at-least-once is promised', () => {
    always(
      (history) => {
        for (const each of TOPICS) {
          const position = history.position(each);
          const waiting = [...history.model.get(each)!.keys()];
          const ahead = [1, 2, 3].map((i) => aCursor(position.next.n + i).offset);
          expect(settlementOf(position, [...waiting, ...ahead])).to.deep.equal({
            known: waiting,
            settled: [],
            unknown: ahead,
          });
        }
      },
      ['at_least_once'],
    );
  });

  it('knows what was given and acknowledged as settled', () => {
    always((history) => {
      for (const each of TOPICS) {
        const done = history.given.get(each)!.filter((offset) => !history.model.get(each)!.has(offset));
        expect(settlementOf(history.position(each), done).settled).to.deep.equal(done);
      }
    }, BOTH);
  });

  it('never waits for more than max_in_flight, unless that was made smaller', () => {
    always((history) => {
      expect(credit(history.state)).to.equal(Math.max(0, history.maxInFlight - history.waiting));
    }, BOTH);
  });

  it('only ever moves on', () => {
    const last = new WeakMap<History, readonly number[]>();
    always((history) => {
      const now = TOPICS.map((each) => history.position(each).next.n);
      const before = last.get(history) ?? [0, 0];
      for (const [i, n] of now.entries()) expect(n).to.be.at.least(before[i]!);
      last.set(history, now);
    }, BOTH);
  });

  it('decides the same on the same state, and changes nothing by deciding', () => {
    always(({ state, now }) => {
      const before = toSnapshot(state);
      const command: SubscriptionCommand = { type: 'Expire', now: now + 10 };
      expect(subscription.decide(state, command)).to.deep.equal(subscription.decide(state, command));
      expect(toSnapshot(state)).to.deep.equal(before);
    }, BOTH);
  });
});
