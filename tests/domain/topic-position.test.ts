import { expect } from 'chai';
import fc from 'fast-check';
import type { Cursor, Offset } from '../../domain/message/offset.js';
import {
  advanced,
  areDue,
  areNew,
  deliveredOf,
  dispatched,
  dueAt,
  expiredAt,
  extended,
  floorOf,
  hasExpired,
  isHead,
  nextWake,
  pendingOf,
  positionAt,
  returned,
  settled,
  settlementOf,
  unacknowledged,
  unacknowledgedUpTo,
  waitingOf,
  type Delivered,
  type TopicPosition,
} from '../../domain/subscription/topic-position.js';
import { aCursor } from '../support/builders.js';

const START = aCursor(0);

/** What may happen to a position. `picks` choose messages: waiting ones, settled ones and unknown ones alike. */
type Step =
  | {
      readonly do: 'dispatchNew';
      readonly skipped: number;
      readonly count: number;
      readonly deadline: number;
    }
  | { readonly do: 'dispatchDue'; readonly now: number; readonly limit: number; readonly deadline: number }
  | { readonly do: 'settle'; readonly picks: readonly number[] }
  | { readonly do: 'settleHead'; readonly count: number }
  | { readonly do: 'settleUpTo'; readonly pick: number }
  | { readonly do: 'extend'; readonly picks: readonly number[]; readonly deadline: number }
  | { readonly do: 'return'; readonly picks: readonly number[]; readonly notBefore: number }
  | { readonly do: 'expire'; readonly now: number }
  | { readonly do: 'advance'; readonly by: number };

const step = <Name extends Step['do']>(name: Name) => fc.constant(name);
const picks = fc.array(fc.nat(99), { minLength: 1, maxLength: 6 });
const time = fc.nat(100);

const inFlightOf = ({ inFlight }: TopicPosition): readonly Offset[] =>
  inFlight.flatMap((batch) => waitingOf(batch).map(({ offset }) => offset));

/** Without what is settled, which a batch may still carry. */
const plain = (position: TopicPosition): unknown => ({
  ...position,
  inFlight: position.inFlight.map((batch) => ({ ...batch, cursors: waitingOf(batch), from: 0 })),
});

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: step('dispatchNew'),
    skipped: fc.nat(2),
    count: fc.integer({ min: 1, max: 5 }),
    deadline: time,
  }),
  fc.record({ do: step('dispatchDue'), now: time, limit: fc.integer({ min: 1, max: 4 }), deadline: time }),
  fc.record({ do: step('settle'), picks }),
  fc.record({ do: step('settleHead'), count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ do: step('settleUpTo'), pick: fc.nat(99) }),
  fc.record({ do: step('extend'), picks, deadline: time }),
  fc.record({ do: step('return'), picks, notBefore: time }),
  fc.record({ do: step('expire'), now: time }),
  fc.record({ do: step('advance'), by: fc.nat(3) }),
);

/** The same bookkeeping, one entry per message that waits, without a thought for cost. */
interface Waiting {
  readonly cursor: Cursor;
  readonly attempt: number;
  /** The deadline where it is in flight, and where it is due, when it may go out again. */
  readonly wake: number;
  readonly isInFlight: boolean;
}

interface Model {
  readonly next: Cursor;
  readonly waiting: ReadonlyMap<Offset, Waiting>;
}

describe('A position in a topic', () => {
  it('keeps the books that a plain list of waiting messages would', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 40, size: 'max' }), (steps) => {
        let position = positionAt(START);
        let model: Model = { next: START, waiting: new Map() };
        for (const each of steps) {
          [position, model] = apply(each, position, model);
          expectSame(position, model);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('does not change when something is settled a second time', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 20 }), picks, (steps, chosen) => {
        const [position] = steps.reduce<[TopicPosition, Model]>(
          ([before, model], each) => apply(each, before, model),
          [positionAt(START), { next: START, waiting: new Map() }],
        );
        const once = settled(position, offsetsOf(chosen, position));
        expect(settled(once, offsetsOf(chosen, position))).to.deep.equal(once);
      }),
    );
  });

  it('is the same whether messages are settled in order, one by one, or all at once', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 20 }), fc.nat(12), (steps, count) => {
        const [position] = steps.reduce<[TopicPosition, Model]>(
          ([before, model], each) => apply(each, before, model),
          [positionAt(START), { next: START, waiting: new Map() }],
        );
        const offsets = inFlightOf(position).slice(0, count);
        const oneByOne = offsets.reduce((before, offset) => {
          expect(isHead(before, offset)).to.equal(true);
          return settled(before, [offset]);
        }, position);
        expect(plain(oneByOne)).to.deep.equal(plain(settled(position, offsets)));
      }),
    );
  });

  it('copies no cursors where messages are settled in order', () => {
    const cursors = [aCursor(1), aCursor(2), aCursor(3)];
    const position = dispatched(positionAt(START), aCursor(3), cursors, 1, 100);
    const { inFlight, inFlightCount } = settled(settled(position, [aCursor(1).offset]), [aCursor(2).offset]);
    expect(inFlight[0]?.cursors).to.equal(cursors);
    expect(inFlightCount).to.equal(1);
    expect(position.inFlight.flatMap(waitingOf)).to.deep.equal(cursors);
  });

  it('has its floor right below the oldest message that waits, and at its end where none does', () => {
    const cursors = [aCursor(1), aCursor(2), aCursor(3)];
    const position = dispatched(positionAt(START), aCursor(3), cursors, 1, 100);
    expect(floorOf(position)).to.deep.equal(START);
    expect(floorOf(settled(position, [aCursor(2).offset]))).to.deep.equal(START);
    expect(floorOf(settled(position, [aCursor(1).offset, aCursor(2).offset]))).to.deep.equal(aCursor(2));
    expect(
      floorOf(
        settled(
          position,
          cursors.map(({ offset }) => offset),
        ),
      ),
    ).to.deep.equal(aCursor(3));
  });

  it('sends again together only what is due and has the same attempt, up to the limit', () => {
    const cursors = [1, 2, 3, 4].map((n) => aCursor(n));
    let position = dispatched(positionAt(START), aCursor(4), cursors, 1, 100);
    position = returned(position, [aCursor(1).offset, aCursor(2).offset, aCursor(4).offset], 0);
    position = returned(position, [aCursor(2).offset], 50);
    expect(dueAt(position, 49, 10).map(({ cursor }) => cursor.n)).to.deep.equal([1, 4]);
    expect(dueAt(position, 50, 10).map(({ cursor }) => cursor.n)).to.deep.equal([1, 2, 4]);
    expect(dueAt(position, 50, 2).map(({ cursor }) => cursor.n)).to.deep.equal([1, 2]);
    position = dispatched(position, aCursor(4), [aCursor(1)], 2, 100);
    position = returned(position, [aCursor(1).offset], 0);
    expect(dueAt(position, 50, 10)).to.deep.equal([{ cursor: aCursor(1), attempt: 3, notBefore: 0 }]);
  });

  it('sorts what waits for an answer by how often it was delivered, in flight and due alike', () => {
    const [first, second, third, fourth] = [aCursor(1), aCursor(2), aCursor(3), aCursor(4)];
    let position = dispatched(positionAt(START), third, [first, second, third], 1, 100);
    position = returned(position, [first.offset, second.offset], 0);
    position = dispatched(position, fourth, [fourth], 1, 100);
    position = dispatched(position, fourth, [first], 2, 100);
    const all = [first, second, third, fourth, aCursor(5)].map(({ offset }) => offset);
    expect(deliveredOf(position, all)).to.deep.equal([
      { attempt: 1, offsets: [third.offset, fourth.offset, second.offset] },
      { attempt: 2, offsets: [first.offset] },
    ]);
    expect(deliveredOf(position, [second.offset])).to.deep.equal([{ attempt: 1, offsets: [second.offset] }]);
    expect(deliveredOf(position, [aCursor(5).offset])).to.deep.equal([]);
    expect(deliveredOf(settled(position, all), all)).to.deep.equal([]);
  });

  it('names everything that waits up to a place, and that place as well', () => {
    let position = dispatched(positionAt(START), aCursor(5), [1, 2, 4, 5].map(aCursor), 1, 100);
    position = returned(position, [aCursor(1).offset], 0);
    expect([...unacknowledgedUpTo(position, aCursor(4).offset)].sort(ascending)).to.deep.equal(
      [1, 2, 4].map((n) => aCursor(n).offset),
    );
    expect([...unacknowledgedUpTo(position, aCursor(3).offset)].sort(ascending)).to.deep.equal(
      [1, 2].map((n) => aCursor(n).offset),
    );
    expect(unacknowledgedUpTo(position, START.offset)).to.deep.equal([]);
  });

  it('takes as new only what lies above it, in order, up to where was looked', () => {
    const position = positionAt(aCursor(3));
    const isNew = (next: number, ...cursors: readonly number[]) =>
      areNew(position, aCursor(next), cursors.map(aCursor));
    expect([isNew(4, 4), isNew(6, 4, 6), isNew(9, 5)]).to.deep.equal([true, true, true]);
    expect([isNew(4, 3), isNew(4, 3, 4), isNew(5, 4, 6), isNew(5, 5, 4), isNew(4, 4, 4)]).to.deep.equal([
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  it('takes as due exactly what may go out together', () => {
    fc.assert(
      fc.property(
        fc.array(anyStep, { maxLength: 30, size: 'max' }),
        fc.uniqueArray(fc.nat(99), { maxLength: 4 }),
        time,
        fc.integer({ min: 1, max: 4 }),
        (steps, chosen, now, attempt) => {
          const [position, model] = steps.reduce<[TopicPosition, Model]>(
            ([before, books], each) => apply(each, before, books),
            [positionAt(START), { next: START, waiting: new Map() }],
          );
          const run = dueAt(position, now, 10);
          const cursors = run.map(({ cursor }) => cursor);
          expect(areDue(position, cursors, run[0]?.attempt ?? 1, now)).to.be.true;
          const picked = [...new Set(offsetsOf(chosen, position))].sort(ascending);
          const isDue = picked.every((offset) => {
            const found = model.waiting.get(offset);
            return found?.isInFlight === false && found.attempt === attempt && found.wake <= now;
          });
          const places = picked.map((offset) => ({ offset, n: offset - START.offset }));
          expect(areDue(position, places, attempt, now)).to.equal(isDue);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('shares the cursors that it is given instead of copying them', () => {
    const cursors = [aCursor(1), aCursor(2)];
    expect(dispatched(positionAt(START), aCursor(2), cursors, 1, 100).inFlight[0]?.cursors).to.equal(cursors);
  });
});

const apply = (each: Step, position: TopicPosition, model: Model): [TopicPosition, Model] => {
  const waiting = new Map(model.waiting);
  switch (each.do) {
    case 'dispatchNew': {
      const first = model.next.n + 1 + each.skipped;
      const cursors = Array.from({ length: each.count }, (_, i) => aCursor(first + i));
      const next = cursors[cursors.length - 1]!;
      for (const cursor of cursors) {
        waiting.set(cursor.offset, { cursor, attempt: 1, wake: each.deadline, isInFlight: true });
      }
      return [dispatched(position, next, cursors, 1, each.deadline), { next, waiting }];
    }
    case 'dispatchDue': {
      const run = dueAt(position, each.now, each.limit);
      expect(run).to.deep.equal(expectedRun(model, each.now, each.limit));
      const attempt = run[0]?.attempt;
      if (attempt === undefined) return [position, model];
      const cursors = run.map(({ cursor }) => cursor);
      for (const cursor of cursors) {
        waiting.set(cursor.offset, { cursor, attempt, wake: each.deadline, isInFlight: true });
      }
      return [dispatched(position, position.next, cursors, attempt, each.deadline), { ...model, waiting }];
    }
    case 'settle':
    case 'settleHead': {
      const inOrder = inFlightOf(position);
      const offsets = each.do === 'settle' ? offsetsOf(each.picks, position) : inOrder.slice(0, each.count);
      for (const offset of offsets) waiting.delete(offset);
      return [settled(position, offsets), { ...model, waiting }];
    }
    case 'settleUpTo': {
      const [last] = offsetsOf([each.pick], position) as [Offset];
      const offsets = unacknowledgedUpTo(position, last);
      const expected = [...waiting.keys()].filter((offset) => offset <= last);
      expect([...offsets].sort(ascending)).to.deep.equal(expected.sort(ascending));
      for (const offset of expected) waiting.delete(offset);
      return [settled(position, offsets), { ...model, waiting }];
    }
    case 'extend': {
      const offsets = offsetsOf(each.picks, position);
      for (const offset of offsets) {
        const found = waiting.get(offset);
        if (found === undefined) continue;
        const attempt = found.isInFlight ? found.attempt : found.attempt - 1;
        waiting.set(offset, { cursor: found.cursor, attempt, wake: each.deadline, isInFlight: true });
      }
      return [extended(position, offsets, each.deadline), { ...model, waiting }];
    }
    case 'return': {
      const offsets = offsetsOf(each.picks, position);
      giveBack(waiting, offsets, each.notBefore);
      return [returned(position, offsets, each.notBefore), { ...model, waiting }];
    }
    case 'expire': {
      const groups = expiredAt(position, each.now);
      const late = [...waiting.values()].filter(({ isInFlight, wake }) => isInFlight && wake <= each.now);
      expect(hasExpired(position, each.now)).to.equal(late.length > 0);
      expect(inOrder(groups)).to.deep.equal(
        late.map(({ cursor, attempt }) => [cursor.offset, attempt]).sort(byOffset),
      );
      expect(groups.map(({ attempt }) => attempt)).to.deep.equal([
        ...new Set(groups.map(({ attempt }) => attempt)),
      ]);
      const offsets = groups.flatMap((group) => group.offsets);
      giveBack(waiting, offsets, each.now);
      return [returned(position, offsets, each.now), { ...model, waiting }];
    }
    case 'advance': {
      const next = aCursor(model.next.n + each.by);
      return [advanced(position, next), { next, waiting }];
    }
  }
};

const giveBack = (waiting: Map<Offset, Waiting>, offsets: readonly Offset[], notBefore: number): void => {
  for (const offset of new Set(offsets)) {
    const found = waiting.get(offset);
    if (found === undefined) continue;
    const attempt = found.isInFlight ? found.attempt + 1 : found.attempt;
    waiting.set(offset, { cursor: found.cursor, attempt, wake: notBefore, isInFlight: false });
  }
};

const expectSame = (position: TopicPosition, model: Model): void => {
  const waiting = [...model.waiting.values()].sort((a, b) => a.cursor.n - b.cursor.n);
  const floor = waiting[0] === undefined ? model.next : aCursor(waiting[0].cursor.n - 1);
  expect(position.next).to.deep.equal(model.next);
  expect(unacknowledged(position)).to.equal(waiting.length);
  expect(floorOf(position)).to.deep.equal(floor);
  expect(nextWake(position)).to.equal(
    waiting.length === 0 ? undefined : Math.min(...waiting.map(({ wake }) => wake)),
  );
  expect(pendingOf(position).map(({ cursor, attempt }) => [cursor.n, attempt])).to.deep.equal(
    waiting.map(({ cursor, attempt, isInFlight }) => [cursor.n, isInFlight ? attempt + 1 : attempt]),
  );
  const all = Array.from({ length: model.next.n + 3 }, (_, i) => aCursor(i + 1).offset);
  expect(inOrder(deliveredOf(position, all))).to.deep.equal(
    waiting.map(({ cursor, attempt, isInFlight }) => [cursor.offset, isInFlight ? attempt : attempt - 1]),
  );
  expect(settlementOf(position, all)).to.deep.equal({
    known: waiting.map(({ cursor }) => cursor.offset),
    settled: all.filter((offset) => offset <= model.next.offset && !model.waiting.has(offset)),
    unknown: all.filter((offset) => offset > model.next.offset),
  });
};

const expectedRun = (model: Model, now: number, limit: number) => {
  const due = [...model.waiting.values()]
    .filter(({ isInFlight, wake }) => !isInFlight && wake <= now)
    .sort((a, b) => a.cursor.n - b.cursor.n);
  const different = due.findIndex(({ attempt }) => attempt !== due[0]?.attempt);
  return due
    .slice(0, Math.min(limit, different === -1 ? due.length : different))
    .map(({ cursor, attempt, wake }) => ({ cursor, attempt, notBefore: wake }));
};

/** A pick is a share of everything up to a little above the end. */
const offsetsOf = (chosen: readonly number[], position: TopicPosition): readonly Offset[] =>
  chosen.map((pick) => aCursor(1 + Math.floor((pick / 100) * (position.next.n + 2))).offset);

const ascending = (a: number, b: number): number => a - b;

const byOffset = ([a = 0]: readonly number[], [b = 0]: readonly number[]): number => a - b;

/** Each offset with how often it was delivered. */
const inOrder = (groups: readonly Delivered[]): readonly (readonly number[])[] =>
  groups.flatMap(({ attempt, offsets }) => offsets.map((offset) => [offset, attempt])).sort(byOffset);
