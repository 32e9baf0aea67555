import { expect } from 'chai';
import fc from 'fast-check';
import { offsetAt, type Cursor, type Offset, type Recorded } from '../../../domain/message/offset.js';
import type { MessagePublished } from '../../../domain/topic/topic-events.js';
import { estimatedBytes } from '../../../infrastructure/memory/estimated-bytes.js';
import { EventLog } from '../../../infrastructure/memory/event-log.js';
import { aCursor, aMessage, messages } from '../../support/builders.js';
import { TEST_START } from '../../support/manual-clock.js';

type Step =
  | { readonly do: 'append'; readonly count: number; readonly laterMs: number }
  | { readonly do: 'push'; readonly skipped: number }
  | { readonly do: 'dropBelow'; readonly at: number }
  | { readonly do: 'dropOldest'; readonly count: number }
  | { readonly do: 'remove'; readonly every: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('append' as const), count: fc.nat(60), laterMs: fc.nat(5) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('push' as const), skipped: fc.nat(3000) }) },
  fc.record({ do: fc.constant('dropBelow' as const), at: fc.nat(100) }),
  fc.record({ do: fc.constant('dropOldest' as const), count: fc.integer({ min: -2, max: 80 }) }),
  fc.record({ do: fc.constant('remove' as const), every: fc.integer({ min: 2, max: 9 }) }),
);

describe('EventLog', () => {
  it('answers what a plain array would, whatever came in and went out', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), fc.array(fc.nat(100)), (steps, probes) => {
        const log = new EventLog<MessagePublished>();
        const model = new Model();
        for (const step of steps) {
          apply(step, log, model);
          expect(log.size).to.equal(model.events.length);
          expect(log.last).to.deep.equal(model.last);
          expect(log.first).to.deep.equal(model.first());
          expect(log.bytes).to.equal(model.events.reduce((sum, { event }) => sum + estimatedBytes(event), 0));
          for (const probe of probes) {
            const offset = model.offsetAround(probe);
            const above = model.events.filter((recorded) => recorded.offset > offset);
            expect(log.after(offset, 7)).to.deep.equal(above.slice(0, 7));
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it('begins after the place that it is given', () => {
    const log = new EventLog<MessagePublished>(aCursor(7));
    expect([log.first, log.last]).to.deep.equal([aCursor(7), aCursor(7)]);
    log.push({ ...aCursor(8), event: aMessage() });
    expect([log.first, log.last]).to.deep.equal([aCursor(7), aCursor(8)]);
  });

  it('refuses to hold a window with a hole in it', () => {
    const log = new EventLog<MessagePublished>(aCursor(7));
    const push = (cursor: Cursor) => () => log.push({ ...cursor, event: aMessage() });
    expect(push(aCursor(9))).to.throw('event 9 does not follow event 7');
    expect(push(aCursor(7))).to.throw();
    expect(push({ n: 8, offset: aCursor(7).offset })).to.throw();
  });

  it('drops from the front at a cost that does not grow with what stays', () => {
    const log = new EventLog<MessagePublished>();
    log.append(messages(400_000), TEST_START);
    const startedAt = performance.now();
    for (let i = 0; i < 399_990; i++) log.dropOldest(1);
    // Moving the rest at every drop would take several times as long.
    expect(performance.now() - startedAt).to.be.below(2_000);
    expect(log.after(0 as Offset, 100).map(({ n }) => n)).to.deep.equal(
      Array.from({ length: 10 }, (_, i) => 399_991 + i),
    );
  });
});

/** The same as a plain array, without a thought for cost. */
class Model {
  events: Recorded<MessagePublished>[] = [];
  last: Cursor = { offset: 0 as Offset, n: 0 };
  now = TEST_START;

  first(): Cursor {
    const oldest = this.events[0];
    return oldest === undefined ? this.last : { offset: (oldest.offset - 1) as Offset, n: oldest.n - 1 };
  }

  add(offset: number, event: MessagePublished): Recorded<MessagePublished> {
    const recorded = { offset: offset as Offset, n: this.last.n + 1, event };
    this.last = { offset: recorded.offset, n: recorded.n };
    this.events.push(recorded);
    return recorded;
  }

  /** An offset at, right before or right after some event, or beyond both ends. */
  offsetAround(probe: number): Offset {
    const near = this.events[Math.floor((probe / 100) * this.events.length)]?.offset ?? this.last.offset;
    return (near + (probe % 3) - 1) as Offset;
  }
}

const apply = (step: Step, log: EventLog<MessagePublished>, model: Model): void => {
  switch (step.do) {
    case 'append': {
      model.now += step.laterMs;
      const events = messages(step.count, model.last.n + 1);
      const expected = events.map((event) =>
        model.add(Math.max(model.last.offset + 1, offsetAt(model.now)), event),
      );
      expect(log.append(events, model.now)).to.deep.equal(expected);
      return;
    }
    case 'push':
      log.push(model.add(model.last.offset + 1 + step.skipped, aMessage({ key: 'pushed' })));
      return;
    case 'dropBelow': {
      const below = model.offsetAround(step.at);
      log.dropBelow(below);
      model.events = model.events.filter(({ offset }) => offset >= below);
      return;
    }
    case 'dropOldest':
      log.dropOldest(step.count);
      model.events = model.events.slice(Math.max(step.count, 0));
      return;
    case 'remove': {
      const isGone = ({ payload }: MessagePublished) => payload.length % step.every === 0;
      const size = model.events.length;
      const removed = log.remove(({ event }) => isGone(event));
      model.events = model.events.filter(({ event }) => !isGone(event));
      expect(removed).to.equal(size - model.events.length);
    }
  }
};
