/**
 * The laws of a subscription, over generated histories of everything that can happen to one, and against a model that
 * thinks of one message at a time: new, in flight, due or settled.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { replay } from '../../domain/decider.js';
import type { Guarantee } from '../../domain/delivery/guarantee.js';
import { redeliveryDelayMs } from '../../domain/delivery/redelivery-delay.js';
import { instantOf, type Cursor, type Offset } from '../../domain/message/offset.js';
import type {
  SubscriptionEvent,
  SubscriptionSettings,
} from '../../domain/subscription/subscription-events.js';
import {
  credit,
  isExhausted,
  subscription,
  toSnapshot,
  type Subscription,
  type SubscriptionCommand,
} from '../../domain/subscription/subscription.js';
import {
  dueAt,
  pendingOf,
  settlementOf,
  unacknowledgedUpTo,
  waitingOf,
  type TopicPosition,
} from '../../domain/subscription/topic-position.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import { aCursor, aPattern, aTopic, someSettings } from '../support/builders.js';

/** One that is named, and one that a pattern has found: only that one may be forgotten. */
const NAMED = aTopic('a');
const FOUND = aTopic('b.c');
const TOPICS = [NAMED, FOUND];
const PATTERNS = [aPattern('a'), aPattern('b.*')];
const ACK_TIMEOUT_MS = 20;

// What happens

/** How many new messages there are to pick from above what was looked at. */
const PICKS_AHEAD = 2;

/** `picks` choose messages around the place that was looked at last: waiting, settled and new ones alike. */
type Step =
  | { readonly do: 'dispatch'; readonly topic: number; readonly skipped: number; readonly count: number }
  | { readonly do: 'redeliver'; readonly topic: number; readonly limit: number }
  /** Whatever somebody who has not looked might ask for. */
  | {
      readonly do: 'stray';
      readonly topic: number;
      readonly picks: readonly number[];
      readonly attempt: number;
    }
  | { readonly do: 'acknowledge'; readonly topic: number; readonly picks: readonly number[] }
  | { readonly do: 'acknowledgeUpTo'; readonly topic: number; readonly pick: number }
  | {
      readonly do: 'reject';
      readonly topic: number;
      readonly picks: readonly number[];
      readonly delayMs: number | undefined;
      readonly jitter: number;
    }
  | { readonly do: 'extend'; readonly topic: number; readonly picks: readonly number[] }
  | { readonly do: 'deadLetter'; readonly topic: number; readonly picks: readonly number[] }
  | { readonly do: 'pass'; readonly ms: number; readonly jitter: number }
  | { readonly do: 'skip'; readonly topic: number; readonly count: number }
  | { readonly do: 'commit'; readonly topic: number }
  | { readonly do: 'forget'; readonly isYoung: boolean }
  | { readonly do: 'snapshot' }
  | { readonly do: 'takeOver' }
  | { readonly do: 'set'; readonly maxInFlight: number; readonly backoffMs: readonly number[] };

const name = <Name extends Step['do']>(step: Name) => fc.constant(step);
const topic = fc.nat(TOPICS.length - 1);
const pick = fc.nat(12);
const picks = fc.array(pick, { minLength: 1, maxLength: 6 });
const jitter = fc.constantFrom(0, 0.3, 0.5, 0.999);
const backoffMs = fc.array(fc.nat(40), { maxLength: 3 });
const maxInFlight = fc.integer({ min: 1, max: 10 });

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: name('dispatch'),
      topic,
      skipped: fc.nat(2),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: name('redeliver'), topic, limit: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: name('stray'),
      topic,
      picks: fc.array(pick, { minLength: 1, maxLength: 2 }),
      attempt: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: name('acknowledge'), topic, picks }) },
  { weight: 1, arbitrary: fc.record({ do: name('acknowledgeUpTo'), topic, pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: name('reject'),
      topic,
      picks,
      delayMs: fc.option(fc.nat(30), { nil: undefined, freq: 2 }),
      jitter,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: name('extend'), topic, picks }) },
  { weight: 1, arbitrary: fc.record({ do: name('deadLetter'), topic, picks }) },
  { weight: 4, arbitrary: fc.record({ do: name('pass'), ms: fc.integer({ min: 1, max: 30 }), jitter }) },
  { weight: 1, arbitrary: fc.record({ do: name('skip'), topic, count: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: name('commit'), topic }) },
  { weight: 1, arbitrary: fc.record({ do: name('forget'), isYoung: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: name('snapshot') }) },
  { weight: 1, arbitrary: fc.record({ do: name('takeOver') }) },
  { weight: 1, arbitrary: fc.record({ do: name('set'), maxInFlight, backoffMs }) },
);

// The model

interface InFlight {
  readonly state: 'inFlight';
  readonly attempt: number;
  readonly deadline: number;
}

interface Due {
  readonly state: 'due';
  /** The one that it will be. */
  readonly attempt: number;
  readonly notBefore: number;
}

type Message = InFlight | Due | { readonly state: 'settled' };

const SETTLED: Message = { state: 'settled' };

/** What the model knows of one topic; a message that is not there is new. */
interface Books {
  next: number;
  readonly messages: Map<number, Message>;
}

/** A message was given to the client. */
interface Offer {
  readonly topic: TopicName;
  readonly n: number;
  readonly attempt: number;
  readonly at: number;
  /** What the model thought of it right before. */
  readonly was: Message | undefined;
}

/** A subscription, the history that made it, and the model that it is compared with. */
class History {
  state: Subscription = subscription.initialState;
  now = 0;
  readonly events: SubscriptionEvent[] = [];
  readonly offers: Offer[] = [];
  private readonly books = new Map<TopicName, Books>(
    TOPICS.map((each) => [each, { next: 0, messages: new Map() }]),
  );
  private sessions = 0;

  constructor(
    readonly guarantee: Guarantee,
    private settings: SubscriptionSettings,
    private readonly takesSnapshots = true,
  ) {
    this.open();
  }

  get maxInFlight(): number {
    return this.settings.maxInFlight;
  }

  position(of: TopicName): TopicPosition {
    return this.state.positions.get(of)!;
  }

  booksOf(of: TopicName): Books {
    return this.books.get(of)!;
  }

  /** How many messages wait for an answer. */
  get waiting(): number {
    let count = 0;
    for (const { messages } of this.books.values()) {
      for (const { state } of messages.values()) if (state !== 'settled') count += 1;
    }
    return count;
  }

  run(step: Step): void {
    switch (step.do) {
      case 'dispatch': {
        const first = this.booksOf(TOPICS[step.topic]!).next + 1 + step.skipped;
        const places = Array.from({ length: step.count }, (_, i) => first + i);
        this.dispatch(TOPICS[step.topic]!, first + step.count - 1, places, 1);
        break;
      }
      case 'redeliver':
        this.redeliver(TOPICS[step.topic]!, step.limit);
        break;
      case 'stray':
        this.stray(TOPICS[step.topic]!, step.picks, step.attempt);
        break;
      case 'acknowledge':
        this.settle('Acknowledge', TOPICS[step.topic]!, step.picks);
        break;
      case 'acknowledgeUpTo':
        this.acknowledgeUpTo(TOPICS[step.topic]!, step.pick);
        break;
      case 'reject':
        this.reject(TOPICS[step.topic]!, step.picks, step.delayMs, step.jitter);
        break;
      case 'extend':
        this.extend(TOPICS[step.topic]!, step.picks);
        break;
      case 'deadLetter':
        this.settle('DeadLetter', TOPICS[step.topic]!, step.picks);
        break;
      case 'pass':
        this.pass(step.ms, step.jitter);
        break;
      case 'skip':
        this.skip(TOPICS[step.topic]!, step.count);
        break;
      case 'commit':
        this.commit(TOPICS[step.topic]!);
        break;
      case 'forget':
        this.forget(step.isYoung);
        break;
      case 'snapshot':
        if (this.takesSnapshots) this.happened([toSnapshot(this.state)]);
        break;
      case 'takeOver':
        this.sessions += 1;
        this.open();
        // Whoever takes over has not seen what the other one was given.
        for (const { messages } of this.books.values()) {
          for (const [n, message] of messages) {
            if (message.state !== 'inFlight') continue;
            messages.set(n, { state: 'due', attempt: message.attempt + 1, notBefore: 0 });
          }
        }
        break;
      case 'set':
        this.settings = { ...this.settings, maxInFlight: step.maxInFlight, backoffMs: step.backoffMs };
        this.open();
        break;
    }
  }

  /** Gives `places` out as the server would be asked to, and expects the model to agree whether that may be. */
  dispatch(to: TopicName, next: number, places: readonly number[], attempt: number): boolean {
    const expected = this.refusalOf(to, next, places, attempt);
    const cursors = places.map((n) => aCursor(n));
    const command = {
      type: 'Dispatch',
      topic: to,
      next: aCursor(next),
      cursors,
      attempt,
      now: this.now,
    } as const;
    expect(this.decide(command)).to.equal(expected);
    if (expected !== undefined) return false;
    const { messages } = this.booksOf(to);
    for (const n of places) {
      this.offers.push({ topic: to, n, attempt, at: this.now, was: messages.get(n) });
    }
    this.lookedAt(to, next);
    for (const n of places) {
      messages.set(
        n,
        this.guarantee === 'at_most_once'
          ? SETTLED
          : { state: 'inFlight', attempt, deadline: this.now + ACK_TIMEOUT_MS },
      );
    }
    return true;
  }

  /** What the position says is due goes out, and is what the model says. Answers the places. */
  redeliver(to: TopicName, limit: number): readonly number[] {
    const run = dueAt(this.position(to), this.now, limit);
    const books = this.booksOf(to);
    const due = [...books.messages]
      .filter((entry): entry is [number, Due] => entry[1].state === 'due' && entry[1].notBefore <= this.now)
      .sort(([a], [b]) => a - b);
    const attempt = due[0]?.[1].attempt;
    expect(run.length > 0).to.equal(attempt !== undefined);
    if (attempt === undefined) return [];
    const other = due.findIndex(([, message]) => message.attempt !== attempt);
    const places = due.slice(0, Math.min(limit, other === -1 ? due.length : other)).map(([n]) => n);
    expect(run.map(({ cursor }) => cursor.n)).to.deep.equal(places);
    expect(this.dispatch(to, books.next, places, attempt)).to.be.true;
    return places;
  }

  decide(command: SubscriptionCommand): string | undefined {
    const decided = subscription.decide(this.state, command);
    if (E.isLeft(decided)) return decided.left._tag;
    this.happened(decided.right);
    return undefined;
  }

  settle(type: 'Acknowledge' | 'DeadLetter', of: TopicName, chosen: readonly number[]): void {
    const places = this.placesOf(of, chosen);
    const offsets = offsetsOf(places);
    this.decide(
      type === 'Acknowledge'
        ? { type, topic: of, offsets }
        : { type, topic: of, offsets, reason: 'max_deliveries' },
    );
    for (const n of places) this.change(of, n, () => SETTLED);
  }

  reject(of: TopicName, chosen: readonly number[], delayMs: number | undefined, jitter: number): void {
    const places = this.placesOf(of, chosen);
    this.decide({ type: 'Reject', topic: of, offsets: offsetsOf(places), delayMs, now: this.now, jitter });
    for (const n of new Set(places)) {
      this.change(of, n, (message) => this.back(message, delayMs ?? this.backoffAfter(message, jitter)));
    }
  }

  pass(ms: number, jitter: number): void {
    this.now += ms;
    this.decide({ type: 'Expire', now: this.now, jitter });
    for (const each of TOPICS) {
      for (const [n, message] of this.booksOf(each).messages) {
        if (message.state !== 'inFlight' || message.deadline > this.now) continue;
        this.change(each, n, () => this.back(message, this.backoffAfter(message, jitter)));
      }
    }
  }

  /** A pick is a distance down from a little above the place that was looked at last. */
  placesOf(of: TopicName, chosen: readonly number[]): readonly number[] {
    const top = this.booksOf(of).next + PICKS_AHEAD;
    return chosen.map((each) => Math.max(1, top - each));
  }

  private open(): void {
    this.decide({
      type: 'Open',
      guarantee: this.guarantee,
      settings: this.settings,
      topics: PATTERNS,
      starts: TOPICS.map((each) => ({ topic: each, at: aCursor(0) })),
      gone: { type: 'Forget', topics: [], before: 0 },
      topicsMax: 10,
      session: `s${this.sessions}`,
    });
  }

  private refusalOf(
    to: TopicName,
    next: number,
    places: readonly number[],
    attempt: number,
  ): string | undefined {
    const books = this.booksOf(to);
    const isInOrder = places.every((n, i) => i === 0 || n > places[i - 1]!);
    const mayGo = places.every((n) => {
      const message = books.messages.get(n);
      if (attempt === 1) return message === undefined && n > books.next && n <= next;
      return message?.state === 'due' && message.attempt === attempt && message.notBefore <= this.now;
    });
    if (!isInOrder || !mayGo) return 'NotDispatchable';
    const isRoom = attempt > 1 || this.waiting + places.length <= this.maxInFlight;
    return isRoom ? undefined : 'InFlightExceeded';
  }

  private stray(to: TopicName, chosen: readonly number[], attempt: number): void {
    const places = this.placesOf(to, chosen);
    this.dispatch(to, Math.max(this.booksOf(to).next, places[0]!), places, attempt);
  }

  private acknowledgeUpTo(of: TopicName, chosen: number): void {
    const last = this.placesOf(of, [chosen])[0]!;
    const offsets = unacknowledgedUpTo(this.position(of), aCursor(last).offset);
    this.decide({ type: 'Acknowledge', topic: of, offsets });
    for (const n of this.booksOf(of).messages.keys()) if (n <= last) this.change(of, n, () => SETTLED);
  }

  private extend(of: TopicName, chosen: readonly number[]): void {
    const places = this.placesOf(of, chosen);
    this.decide({ type: 'Extend', topic: of, offsets: offsetsOf(places), now: this.now });
    const deadline = this.now + ACK_TIMEOUT_MS;
    for (const n of new Set(places)) {
      this.change(of, n, (message) => ({ state: 'inFlight', attempt: deliveriesOf(message), deadline }));
    }
  }

  private skip(of: TopicName, count: number): void {
    const next = this.booksOf(of).next + count;
    this.decide({ type: 'Dispatch', topic: of, next: aCursor(next), cursors: [], attempt: 1, now: this.now });
    this.lookedAt(of, next);
  }

  /** As a connection does that ends: whatever is in flight is due at once, wherever the client comes back. */
  private commit(of: TopicName): void {
    const position = this.position(of);
    this.decide({ type: 'Commit', topic: of, next: position.next, pending: pendingOf(position) });
    for (const [n, { state }] of this.booksOf(of).messages) {
      if (state === 'inFlight') {
        this.change(of, n, (message) => ({ state: 'due', attempt: deliveriesOf(message) + 1, notBefore: 0 }));
      }
    }
  }

  /** The topics are gone, and come back at once; whoever had no position any more begins where the topic then does. */
  private forget(isYoung: boolean): void {
    const isForgettable = ![...this.booksOf(FOUND).messages.values()].some(
      ({ state }) => state !== 'settled',
    );
    const next = this.position(FOUND).next;
    const named = this.position(NAMED);
    const before = instantOf(next.offset) + (isYoung ? 0 : 1);
    this.decide({ type: 'Forget', topics: TOPICS, before });
    expect(this.state.positions.get(NAMED)).to.equal(named);
    expect(this.state.positions.has(FOUND)).to.equal(isYoung || !isForgettable);
    this.decide({ type: 'Follow', starts: TOPICS.map((each) => ({ topic: each, at: next })) });
  }

  private happened(events: readonly SubscriptionEvent[]): void {
    this.events.push(...events);
    this.state = replay(subscription, this.state, events);
  }

  /** Everything up to `next` that nobody has thought of is settled. */
  private lookedAt(of: TopicName, next: number): void {
    const books = this.booksOf(of);
    for (let n = books.next + 1; n <= next; n++) books.messages.set(n, SETTLED);
    books.next = Math.max(books.next, next);
  }

  /** Changes what waits for an answer, and nothing else. */
  private change(of: TopicName, n: number, to: (message: InFlight | Due) => Message): void {
    const { messages } = this.booksOf(of);
    const message = messages.get(n);
    if (message !== undefined && message.state !== 'settled') messages.set(n, to(message));
  }

  private back(message: InFlight | Due, delayMs: number): Message {
    return { state: 'due', attempt: deliveriesOf(message) + 1, notBefore: this.now + delayMs };
  }

  private backoffAfter(message: InFlight | Due, jitter: number): number {
    return redeliveryDelayMs(this.settings.backoffMs, deliveriesOf(message), jitter);
  }
}

const deliveriesOf = (message: InFlight | Due): number =>
  message.state === 'inFlight' ? message.attempt : message.attempt - 1;

const offsetsOf = (places: readonly number[]): readonly Offset[] => places.map((n) => aCursor(n).offset);

/** What a position waits for, in the model's words, in order. */
const allWaitingOf = (position: TopicPosition): readonly (readonly [number, Message])[] =>
  [
    ...position.inFlight.flatMap((batch) =>
      waitingOf(batch).map((cursor) =>
        pair(cursor, { state: 'inFlight', attempt: batch.attempt, deadline: batch.deadline }),
      ),
    ),
    ...position.due.map(({ cursor, attempt, notBefore }) =>
      pair(cursor, { state: 'due', attempt, notBefore }),
    ),
  ].sort(([a], [b]) => a - b);

const pair = ({ n }: Cursor, message: Message): readonly [number, Message] => [n, message];

const modelled = ({ messages }: Books): readonly (readonly [number, Message])[] =>
  [...messages].filter(([, { state }]) => state !== 'settled').sort(([a], [b]) => a - b);

// The laws

const BOTH: readonly Guarantee[] = ['at_least_once', 'at_most_once'];
/** Ten thousand histories in all. */
const HISTORIES = 720;

const anyHistory = (guarantees: readonly Guarantee[]) =>
  fc.record({
    // Without a size, fast-check would hardly make any longer than ten.
    steps: fc.array(anyStep, { maxLength: 30, size: 'max' }),
    guarantee: fc.constantFrom(...guarantees),
    settings: fc
      .record({ maxInFlight, backoffMs })
      .map((settings) => someSettings({ ...settings, ackTimeoutMs: ACK_TIMEOUT_MS })),
  });

/** Checks `law` at the end of every history. Each beginning of one is one as well. */
const atTheEnd = (law: (history: History) => void, guarantees = BOTH): void => {
  fc.assert(
    fc.property(anyHistory(guarantees), ({ steps, guarantee, settings }) => {
      const history = new History(guarantee, settings);
      for (const step of steps) history.run(step);
      law(history);
    }),
    { numRuns: HISTORIES },
  );
};

/** Checks `law` after every step of every history. */
const always = (law: (history: History) => void, guarantees = BOTH): void => {
  fc.assert(
    fc.property(anyHistory(guarantees), ({ steps, guarantee, settings }) => {
      const history = new History(guarantee, settings);
      for (const step of steps) {
        history.run(step);
        law(history);
      }
    }),
    { numRuns: HISTORIES },
  );
};

describe('Every subscription', () => {
  it('waits for the messages that the model waits for, with their attempts, deadlines and delays', () => {
    always((history) => {
      for (const each of TOPICS) {
        const books = history.booksOf(each);
        expect(history.position(each).next).to.deep.equal(aCursor(books.next));
        expect(allWaitingOf(history.position(each))).to.deep.equal(modelled(books));
      }
    });
  });

  it('is what its history says: replay equals running state', () => {
    atTheEnd(({ state, events }) => {
      expect(replay(subscription, subscription.initialState, events)).to.deep.equal(state);
    });
  });

  it('is what its snapshot says', () => {
    atTheEnd(({ state }) => {
      // A snapshot has no settled cursors, and a batch may have them still.
      const snapshot = toSnapshot(state);
      expect(toSnapshot(subscription.evolve(subscription.initialState, snapshot))).to.deep.equal(snapshot);
    });
  });

  it('goes on from a snapshot as if none had been taken', () => {
    fc.assert(
      fc.property(anyHistory(BOTH), ({ steps, guarantee, settings }) => {
        const taking = new History(guarantee, settings);
        const going = new History(guarantee, settings, false);
        for (const step of steps) {
          taking.run(step);
          taking.run({ do: 'snapshot' });
          going.run(step);
        }
        expect(toSnapshot(taking.state)).to.deep.equal(toSnapshot(going.state));
      }),
      { numRuns: HISTORIES },
    );
  });

  it('takes an acknowledgement twice as once', () => {
    atTheEnd(({ state }) => {
      for (const each of TOPICS) {
        const offsets = offsetsOf([3, 1, 4, 1, 5, 9, 2, 6]);
        const command: SubscriptionCommand = { type: 'Acknowledge', topic: each, offsets };
        const once = subscription.decide(state, command);
        if (E.isLeft(once)) throw new Error('refused');
        const after = replay(subscription, state, once.right);
        expect(subscription.decide(after, command)).to.deep.equal(E.right([]));
        expect(replay(subscription, after, once.right)).to.deep.equal(after);
      }
    });
  });

  it('never offers a message twice where at-most-once is promised, whatever is asked for', () => {
    atTheEnd(
      ({ offers }) => {
        const offered = offers.map((offer) => `${offer.topic} ${offer.n}`);
        expect(offered).to.deep.equal([...new Set(offered)]);
      },
      ['at_most_once'],
    );
  });

  it('never forgets a message that was not settled where at-least-once is promised', () => {
    always(
      (history) => {
        for (const each of TOPICS) {
          const { next } = history.position(each);
          const waiting = offsetsOf(modelled(history.booksOf(each)).map(([n]) => n));
          const ahead = offsetsOf([1, 2, 3].map((i) => next.n + i));
          expect(settlementOf(history.position(each), [...waiting, ...ahead])).to.deep.equal({
            known: waiting,
            settled: [],
            unknown: ahead,
          });
        }
      },
      ['at_least_once'],
    );
  });

  it('never offers a message again that was settled, and knows it as settled', () => {
    atTheEnd((history) => {
      for (const { was } of history.offers) expect(was?.state).to.be.oneOf([undefined, 'due']);
      for (const each of TOPICS) {
        const done = [...history.booksOf(each).messages].filter(([, { state }]) => state === 'settled');
        const offsets = offsetsOf(done.map(([n]) => n));
        expect(settlementOf(history.position(each), offsets).settled).to.deep.equal(offsets);
      }
    });
  });

  it('counts the attempts: each is one more than the message was delivered before', () => {
    atTheEnd(({ offers }) => {
      const attempts = new Map<string, number>();
      for (const { topic: of, n, attempt } of offers) {
        const before = attempts.get(`${of} ${n}`) ?? 0;
        expect(attempt).to.equal(before + 1);
        attempts.set(`${of} ${n}`, attempt);
      }
    });
  });

  it('offers for the first time in order', () => {
    atTheEnd(({ offers }) => {
      for (const each of TOPICS) {
        const first = offers.filter(({ topic: of, attempt }) => of === each && attempt === 1);
        expect(first.map(({ n }) => n)).to.deep.equal(
          [...new Set(first.map(({ n }) => n))].sort((a, b) => a - b),
        );
      }
    });
  });

  it('offers nothing before its delay is over', () => {
    atTheEnd(
      ({ offers }) => {
        for (const { was, at } of offers) if (was?.state === 'due') expect(at).to.be.at.least(was.notBefore);
      },
      ['at_least_once'],
    );
  });

  it('never waits for more than max_in_flight, unless that was made smaller', () => {
    const last = new WeakMap<History, number>();
    always((history) => {
      const { state, waiting } = history;
      expect(credit(state)).to.equal(Math.max(0, history.maxInFlight - waiting));
      expect(waiting).to.be.at.most(Math.max(history.maxInFlight, last.get(history) ?? 0));
      last.set(history, waiting);
    });
  });

  it('only ever moves on', () => {
    const last = new WeakMap<History, readonly number[]>();
    always((history) => {
      const now = TOPICS.map((each) => history.position(each).next.n);
      const before = last.get(history) ?? [0, 0];
      for (const [i, n] of now.entries()) expect(n).to.be.at.least(before[i]!);
      last.set(history, now);
    });
  });

  it('decides the same on the same state, and changes nothing by deciding', () => {
    atTheEnd(({ state, now }) => {
      const before = JSON.stringify(toSnapshot(state));
      const command: SubscriptionCommand = { type: 'Expire', now: now + 10, jitter: 0.5 };
      expect(subscription.decide(state, command)).to.deep.equal(subscription.decide(state, command));
      expect(JSON.stringify(toSnapshot(state))).to.equal(before);
    });
  });
});

describe('A message that is rejected again and again', () => {
  const MESSAGES = 12;

  /** One answer after another: what is due first, then what is new; the client takes all but the poisoned. */
  const serve = (
    history: History,
    { limit, isPoisoned, delayMs }: { limit: number; isPoisoned: (n: number) => boolean; delayMs?: number },
    answers: number,
  ): void => {
    for (let answer = 0; answer < answers; answer++) {
      history.pass(1, 0);
      const places: number[] = [];
      for (let again = history.redeliver(NAMED, limit); again.length > 0;) {
        places.push(...again);
        again = places.length < limit ? history.redeliver(NAMED, limit - places.length) : [];
      }
      const { next } = history.position(NAMED);
      const fresh = Math.min(limit - places.length, credit(history.state), MESSAGES - next.n);
      const first = Array.from({ length: fresh }, (_, i) => next.n + 1 + i);
      if (fresh > 0) history.dispatch(NAMED, next.n + fresh, first, 1);
      for (const n of [...places, ...first]) give(history, n, isPoisoned, delayMs);
    }
  };

  /** The client's answer to a message that it was given. */
  const give = (
    history: History,
    n: number,
    isPoisoned: (n: number) => boolean,
    delayMs: number | undefined,
  ): void => {
    const chosen = [history.booksOf(NAMED).next + PICKS_AHEAD - n];
    const message = history.booksOf(NAMED).messages.get(n);
    const attempt = message?.state === 'inFlight' ? message.attempt : 0;
    if (!isPoisoned(n)) history.settle('Acknowledge', NAMED, chosen);
    else if (isExhausted(history.state.settings, attempt + 1)) history.settle('DeadLetter', NAMED, chosen);
    else history.reject(NAMED, chosen, delayMs, 0.5);
  };

  const offered = ({ offers }: History): readonly number[] =>
    [...new Set(offers.map(({ n }) => n))].sort((a, b) => a - b);
  const everything = Array.from({ length: MESSAGES }, (_, i) => i + 1);
  const opened = (settings: Partial<SubscriptionSettings>): History =>
    new History('at_least_once', someSettings({ ackTimeoutMs: ACK_TIMEOUT_MS, ...settings }));

  it('never keeps others from being offered while there is room beside it, even where it comes back at once', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: MESSAGES }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 3 }),
        backoffMs,
        fc.option(fc.nat(5), { nil: undefined }),
        (poisoned, room, backoff, delayMs) => {
          const limit = poisoned.length + room;
          const history = opened({ maxInFlight: limit, backoffMs: backoff });
          const isPoisoned = (n: number): boolean => poisoned.includes(n);
          serve(history, { limit, isPoisoned, ...(delayMs === undefined ? {} : { delayMs }) }, MESSAGES);
          expect(offered(history)).to.deep.equal(everything);
          expect(modelled(history.booksOf(NAMED)).map(([n]) => n)).to.deep.equal(
            everything.filter(isPoisoned),
          );
        },
      ),
      { numRuns: HISTORIES / 2 },
    );
  });

  it('leaves the answers to others while it waits, even where each answer is one message', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: MESSAGES }), fc.integer({ min: 2, max: 50 }), (poison, delay) => {
        const history = opened({ maxInFlight: 2, backoffMs: [delay] });
        serve(history, { limit: 1, isPoisoned: (n) => n === poison }, 2 * MESSAGES);
        expect(offered(history)).to.deep.equal(everything);
      }),
      { numRuns: HISTORIES / 4 },
    );
  });

  it('is given up in the end, so that everything is offered though all be poisoned', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), maxInFlight, maxInFlight, (maxDeliveries, limit, most) => {
        const history = opened({ maxInFlight: most, maxDeliveries });
        serve(history, { limit, isPoisoned: () => true }, MESSAGES * maxDeliveries);
        expect(offered(history)).to.deep.equal(everything);
        expect(history.offers).to.have.length(MESSAGES * maxDeliveries);
        expect(history.waiting).to.equal(0);
      }),
      { numRuns: HISTORIES / 4 },
    );
  });
});
