import { expect } from 'chai';
import fc from 'fast-check';
import {
  BEGINNING,
  NO_OFFSET,
  instantOf,
  offsetAt,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../../domain/message/offset.js';
import type { MessagePublished } from '../../../domain/topic/topic-events.js';
import { HotTier } from '../../../infrastructure/tiered/hot-tier.js';
import { aMessage } from '../../support/builders.js';
import { TEST_START } from '../../support/manual-clock.js';

type Message = Recorded<MessagePublished>;

const RETENTION_MS = 60_000;

/** The `n`th message of a topic, stored at `instant`. */
const stored = (n: number, instant = TEST_START, bytes = 10): Message => ({
  offset: (offsetAt(instant) + n) as Offset,
  n,
  event: aMessage({ payload: 'x'.repeat(bytes) }),
});

const someMessages = (from: number, to: number, instant?: number, bytes?: number): readonly Message[] =>
  Array.from({ length: to - from + 1 }, (_, i) => stored(from + i, instant, bytes));

const numbers = (tier: HotTier, key: string): readonly number[] =>
  tier
    .window(key)
    ?.log.after(NO_OFFSET, 1_000_000)
    .map(({ n }) => n) ?? [];

describe('HotTier', () => {
  const open = (bytesMax = 1024 * 1024): HotTier => {
    const tier = new HotTier({ retentionMs: RETENTION_MS, bytesMax });
    tier.open('a', BEGINNING);
    tier.open('b', BEGINNING);
    return tier;
  };

  it('holds what it is told of open windows, and nothing of others', () => {
    const tier = open();
    tier.push('a', someMessages(1, 3), TEST_START);
    tier.push('unopened', someMessages(1, 3), TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([1, 2, 3]);
    expect(tier.window('unopened')).to.equal(undefined);
  });

  it('begins a window anew behind a hole, and where a stream counts from a lower number', () => {
    const tier = open();
    tier.push('a', someMessages(1, 3), TEST_START);
    tier.push('a', someMessages(5, 6), TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([5, 6]);
    expect(tier.window('a')?.start.n).to.equal(4);
    tier.push('a', [stored(1, TEST_START + 1)], TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([1]);
  });

  it('forgets what is older than its retention, whether or not anything comes', () => {
    const tier = open();
    tier.push('a', someMessages(1, 2, TEST_START), TEST_START);
    tier.push('a', someMessages(3, 4, TEST_START + 30_000), TEST_START + 30_000);
    tier.evict(TEST_START + RETENTION_MS);
    expect(numbers(tier, 'a')).to.deep.equal([1, 2, 3, 4]);
    tier.evict(TEST_START + RETENTION_MS + 1);
    expect(numbers(tier, 'a')).to.deep.equal([3, 4]);
    tier.evict(TEST_START + RETENTION_MS * 2);
    expect(numbers(tier, 'a')).to.deep.equal([]);
    expect(tier.bytes).to.equal(0);
    expect(tier.window('a')?.log.last.n).to.equal(4);
  });

  it('forgets the oldest of all topics first when it holds too many bytes', () => {
    const one = new HotTier({ retentionMs: RETENTION_MS, bytesMax: 1_000_000 });
    one.open('a', BEGINNING);
    one.push('a', [stored(1, TEST_START, 1000)], TEST_START);
    const tier = open(one.bytes * 4);
    for (let n = 1; n <= 3; n++) {
      tier.push('a', [stored(n, TEST_START + n, 1000)], TEST_START);
      tier.push('b', [stored(n, TEST_START + n, 1000)], TEST_START);
    }
    expect(numbers(tier, 'a')).to.deep.equal([2, 3]);
    expect(numbers(tier, 'b')).to.deep.equal([2, 3]);
    expect(tier.bytes).to.equal(one.bytes * 4);
  });

  it('does not hold a message that is larger than all it may hold', () => {
    const tier = open(5_000);
    tier.push('a', [stored(1, TEST_START, 10_000)], TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([]);
    tier.push('a', [stored(2)], TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([2]);
  });

  it('knows from which place on nothing is missing', () => {
    const tier = open();
    const start = { offset: 5 as Offset, n: 0 };
    tier.open('a', start);
    tier.push('a', someMessages(1, 5), TEST_START);
    expect(tier.window('a')?.start).to.deep.equal(start);
    tier.trim('a', 3 as Offset);
    expect(tier.window('a')?.start).to.deep.equal(start);
    tier.trim('a', stored(3).offset);
    expect(tier.window('a')?.start).to.deep.equal({ offset: stored(3).offset - 1, n: 2 });
    tier.push('a', [stored(6, TEST_START + 1)], TEST_START);
    tier.evict(TEST_START + RETENTION_MS + 1);
    expect(tier.window('a')?.start).to.deep.equal({ offset: stored(5).offset, n: 5 });
  });

  it('begins a window anew behind its end when something of it is removed, and only then', () => {
    const tier = open();
    tier.push('a', someMessages(1, 5), TEST_START);
    tier.push('b', someMessages(1, 5), TEST_START);
    tier.remove('a', [stored(9).offset, NO_OFFSET]);
    tier.remove('unopened', [stored(1).offset]);
    expect(numbers(tier, 'a')).to.deep.equal([1, 2, 3, 4, 5]);
    tier.remove('a', [stored(9).offset, stored(2).offset]);
    expect(numbers(tier, 'a')).to.deep.equal([]);
    expect(tier.window('a')?.start).to.deep.equal({ offset: stored(5).offset, n: 5 });
    tier.push('a', someMessages(6, 7), TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([6, 7]);
    expect(numbers(tier, 'b')).to.deep.equal([1, 2, 3, 4, 5]);
  });

  it('counts bytes down again by trimming, closing and opening anew', () => {
    const tier = open();
    tier.push('a', someMessages(1, 10), TEST_START);
    const ten = tier.bytes;
    tier.trim('a', stored(6).offset);
    expect(numbers(tier, 'a')).to.deep.equal([6, 7, 8, 9, 10]);
    expect(tier.bytes).to.equal(ten / 2);
    tier.push('b', someMessages(1, 10), TEST_START);
    tier.open('b', BEGINNING);
    expect(tier.bytes).to.equal(ten / 2);
    tier.close('a');
    expect(tier.bytes).to.equal(0);
    tier.trim('a', stored(6).offset);
    tier.close('a');
    expect(tier.bytes).to.equal(0);
  });

  it('goes on forgetting by age behind what was trimmed', () => {
    const tier = open();
    tier.push('a', someMessages(1, 5, TEST_START), TEST_START);
    tier.push('b', someMessages(1, 5, TEST_START), TEST_START);
    tier.push('a', someMessages(6, 6, TEST_START + RETENTION_MS), TEST_START + RETENTION_MS);
    tier.trim('a', stored(6, TEST_START + RETENTION_MS).offset);
    tier.evict(TEST_START + RETENTION_MS + 1);
    expect(numbers(tier, 'a')).to.deep.equal([6]);
    expect(numbers(tier, 'b')).to.deep.equal([]);
  });

  it('is at any time what a plain list of messages would be', () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          type: fc.constant('push' as const),
          key,
          count: fc.integer({ min: 1, max: 5 }),
          bytes: fc.integer({ min: 1, max: 400 }),
          skipped: fc.constantFrom(0, 0, 0, 0, 2),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant('wait' as const),
          ms: fc.integer({ min: 1, max: RETENTION_MS }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          type: fc.constant('trim' as const),
          key,
          keep: fc.integer({ min: 0, max: 5 }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          type: fc.constant('remove' as const),
          key,
          back: fc.integer({ min: 0, max: 20 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const), key }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('close' as const), key }) },
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 0, max: 5_000 }),
        (steps, bytesMax) => {
          const tier = new HotTier({ retentionMs: RETENTION_MS, bytesMax });
          const model = new Model(bytesMax);
          let now = TEST_START;
          const ends = new Map<string, Cursor>();
          for (const each of steps) {
            switch (each.type) {
              case 'push': {
                const from = (ends.get(each.key)?.n ?? 0) + 1 + each.skipped;
                const told = someMessages(from, from + each.count - 1, now, each.bytes);
                tier.push(each.key, told, now);
                model.push(each.key, told, now);
                ends.set(each.key, told[told.length - 1]!);
                break;
              }
              case 'wait':
                now += each.ms;
                tier.evict(now);
                model.evict(now);
                break;
              case 'trim': {
                const newest = ends.get(each.key);
                if (newest === undefined) break;
                const below = (newest.offset - each.keep + 1) as Offset;
                tier.trim(each.key, below);
                model.trim(each.key, below);
                break;
              }
              case 'remove': {
                const offset = ((ends.get(each.key)?.offset ?? 0) - each.back) as Offset;
                tier.remove(each.key, [offset]);
                model.remove(each.key, offset);
                break;
              }
              case 'reopen':
                tier.open(each.key, ends.get(each.key) ?? BEGINNING);
                model.open(each.key);
                break;
              case 'close':
                tier.close(each.key);
                model.close(each.key);
                break;
            }
            for (const name of ['a', 'b', 'c']) {
              expect(numbers(tier, name)).to.deep.equal(model.numbers(name));
              expectContiguous(numbers(tier, name));
            }
            expect(tier.bytes).to.be.at.most(bytesMax);
            if (model.isEmpty) expect(tier.bytes).to.equal(0);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** All messages in the order they came, each with its topic. */
class Model {
  private all: { readonly key: string; readonly message: Message }[] = [];
  private readonly isOpen = new Set<string>();

  constructor(private readonly bytesMax: number) {}

  get isEmpty(): boolean {
    return this.all.length === 0;
  }

  open(key: string): void {
    this.close(key);
    this.isOpen.add(key);
  }

  close(key: string): void {
    this.keep((each) => each.key !== key);
    this.isOpen.delete(key);
  }

  push(key: string, messages: readonly Message[], now: number): void {
    if (!this.isOpen.has(key)) return;
    for (const message of messages) {
      const newest = this.all.filter((each) => each.key === key).at(-1);
      if (newest !== undefined && newest.message.n !== message.n - 1) this.keep((each) => each.key !== key);
      this.all.push({ key, message });
    }
    this.evict(now);
  }

  trim(key: string, below: Offset): void {
    this.keep((each) => each.key !== key || each.message.offset >= below);
  }

  remove(key: string, offset: Offset): void {
    const isHere = this.all.some((each) => each.key === key && each.message.offset === offset);
    if (isHere) this.keep((each) => each.key !== key);
  }

  evict(now: number): void {
    const isTooOld = ({ message }: { readonly message: Message }): boolean =>
      instantOf(message.offset) < now - RETENTION_MS;
    while (this.all[0] !== undefined && (isTooOld(this.all[0]) || this.bytes > this.bytesMax))
      this.all.shift();
  }

  numbers(key: string): readonly number[] {
    return this.all.filter((each) => each.key === key).map(({ message }) => message.n);
  }

  private get bytes(): number {
    return this.all.reduce((sum, { message }) => sum + BYTES_OF_OBJECTS + message.event.payload.length, 0);
  }

  private keep(isKept: (each: { readonly key: string; readonly message: Message }) => boolean): void {
    this.all = this.all.filter(isKept);
  }
}

/** What one message counts besides its payload. */
const BYTES_OF_OBJECTS = (() => {
  const tier = new HotTier({ retentionMs: RETENTION_MS, bytesMax: 1_000_000 });
  tier.open('a', BEGINNING);
  tier.push('a', [stored(1, TEST_START, 0)], TEST_START);
  return tier.bytes;
})();

const expectContiguous = (found: readonly number[]): void => {
  found.forEach((n, i) => expect(n).to.equal((found[0] ?? 0) + i));
};
