import { expect } from 'chai';
import fc from 'fast-check';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  BEGINNING,
  NO_OFFSET,
  offsetAt,
  type Cursor,
  type Offset,
  type Recorded,
} from '../../../domain/message/offset.js';
import type { MessagePublished, TopicEvent } from '../../../domain/topic/topic-events.js';
import { HotTier } from '../../../infrastructure/tiered/hot-tier.js';
import { aMessage } from '../../support/builders.js';
import { TEST_START } from '../../support/manual-clock.js';
import { ObjectHotTier } from './object-hot-tier.js';

type Message = Recorded<MessagePublished>;

const RETENTION_MS = 60_000;
const KILOBYTE = 1_024;
const EVERYTHING = 1_000_000;

/** The `n`th message of a topic, stored at `instant`. */
const stored = (n: number, instant = TEST_START, characters = 10): Message => ({
  offset: (offsetAt(instant) + n) as Offset,
  n,
  event: aMessage({ payload: String(n).padEnd(characters, 'x') }),
});

const someMessages = (from: number, to: number, instant?: number, characters?: number): readonly Message[] =>
  Array.from({ length: to - from + 1 }, (_, i) => stored(from + i, instant, characters));

const placeOf = ({ offset, n }: Cursor): Cursor => ({ offset, n });

const allOf = (tier: HotTier, key: string): readonly Recorded<TopicEvent>[] => {
  const window = tier.window(key);
  return window?.after(window.start.offset, EVERYTHING) ?? [];
};

const numbers = (tier: HotTier, key: string): readonly number[] => allOf(tier, key).map(({ n }) => n);

/** What this process holds once nothing is left to collect. */
const bytesOfProcess = (): number => {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

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
    expect(tier.window('a')?.start.n).to.equal(4);
  });

  it('forgets the oldest of all topics first when it holds too many bytes', () => {
    const bytesMax = 64 * KILOBYTE;
    const tier = open(bytesMax);
    for (let n = 1; n <= 200; n++) {
      tier.push('a', [stored(n, TEST_START + n, 1_000)], TEST_START);
      tier.push('b', [stored(n, TEST_START + n, 1_000)], TEST_START);
      expect(tier.bytes).to.be.at.most(bytesMax);
    }
    const [fromA, fromB] = [numbers(tier, 'a')[0]!, numbers(tier, 'b')[0]!];
    // Of each pair the one of `a` came first.
    expect(fromA - fromB).to.be.oneOf([0, 1]);
    for (const [key, from] of [['a', fromA] as const, ['b', fromB] as const]) {
      expect(numbers(tier, key)).to.deep.equal(Array.from({ length: 201 - from }, (_, i) => from + i));
      expect(tier.window(key)?.start).to.deep.equal(placeOf(stored(from - 1, TEST_START + from - 1)));
    }
    const heldPayloads = (402 - fromA - fromB) * 1_000;
    expect(heldPayloads).to.be.above(bytesMax * 0.7);
  });

  it('does not hold a message that is larger than all it may hold', () => {
    const tier = open(64 * KILOBYTE);
    tier.push('a', someMessages(1, 3), TEST_START);
    tier.push('a', [stored(4, TEST_START, 70_000)], TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([]);
    expect(tier.window('a')?.start).to.deep.equal(placeOf(stored(4)));
    tier.push('a', [stored(5)], TEST_START);
    expect(numbers(tier, 'a')).to.deep.equal([5]);
  });

  it('holds nothing where it may hold nothing, and goes on', () => {
    const tier = open(0);
    tier.push('a', someMessages(1, 3), TEST_START);
    expect(tier.window('a')?.after(NO_OFFSET, 10)).to.equal(undefined);
    expect(tier.window('a')?.start).to.deep.equal(placeOf(stored(3)));
  });

  it('holds messages of any size between others, as long as there is room for them', () => {
    const tier = open();
    const told = [10, 20_000, 200, 0, 300_000, 5_000, 16_360, 16_361, 16_384, 1].map((characters, i) =>
      stored(i + 1, TEST_START, characters),
    );
    for (const message of told) tier.push('a', [message], TEST_START);
    expect(allOf(tier, 'a')).to.deep.equal(told);
  });

  it('gives back text of any script as it was also where a chunk has just about room for it', () => {
    const [chunk, header] = [16 * KILOBYTE, 24];
    for (let room = 0; room <= 500; room += 8) {
      const tier = open();
      const told = [
        ...someMessages(1, 15, TEST_START, 1_000),
        stored(16, TEST_START, chunk - 15 * (header + 1_000) - 2 * header - room),
        { ...placeOf(stored(17)), event: aMessage({ payload: 'ж'.repeat(200) }) },
        { ...placeOf(stored(18)), event: aMessage({ payload: '"€"'.repeat(50), key: 'ключ' }) },
      ];
      tier.push('a', told, TEST_START);
      expect(allOf(tier, 'a')).to.deep.equal(told);
    }
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

  it('gives memory back by trimming, closing and opening anew, but for one empty chunk', () => {
    const tier = open();
    const nothing = tier.bytes;
    const chunk = (() => {
      tier.push('a', someMessages(1, 1), TEST_START);
      tier.trim('a', stored(2).offset);
      return tier.bytes - nothing;
    })();
    expect(chunk).to.equal(16 * KILOBYTE);
    tier.push('a', someMessages(2, 101, TEST_START, 1_000), TEST_START);
    tier.push('b', someMessages(1, 100, TEST_START, 1_000), TEST_START);
    const full = tier.bytes;
    expect(full - nothing).to.be.above(200_000);
    tier.trim('a', stored(52).offset);
    expect(numbers(tier, 'a')).to.have.length(50);
    expect(full - tier.bytes).to.be.within(50_000 - 2 * chunk, 50_000 + chunk);
    tier.open('b', BEGINNING);
    tier.close('a');
    tier.close('a');
    tier.trim('a', stored(60).offset);
    tier.close('b');
    expect(tier.bytes).to.equal(chunk);
  });

  it('gives the memory of an index back with the messages', () => {
    const tier = open();
    const nothing = tier.bytes;
    tier.push('a', someMessages(1, 20_000), TEST_START);
    tier.trim('a', stored(20_000).offset);
    expect(numbers(tier, 'a')).to.deep.equal([20_000]);
    expect(tier.bytes - nothing).to.be.at.most(33 * KILOBYTE);
  });

  it('forgets messages for the sake of more topics', () => {
    const bytesMax = 64 * KILOBYTE;
    const tier = open(bytesMax);
    tier.push('a', someMessages(1, 500, TEST_START, 200), TEST_START);
    for (let i = 0; i < 200; i++) {
      tier.open(`topic:${i}`, BEGINNING);
      expect(tier.bytes).to.be.at.most(bytesMax);
    }
    expect(numbers(tier, 'a').at(-1)).to.equal(500);
  });

  it('gives the memory of large messages back', () => {
    const tier = open();
    const nothing = tier.bytes;
    const told = someMessages(1, 4, TEST_START, 100_000);
    tier.push('a', told, TEST_START);
    // Nothing is copied of them.
    expect(allOf(tier, 'a')[2]).to.equal(told[2]);
    expect(tier.bytes - nothing).to.be.within(400_000, 420_000);
    tier.trim('a', stored(4).offset);
    expect(tier.bytes - nothing).to.be.within(100_000, 120_000);
    tier.evict(TEST_START + RETENTION_MS + 1_000);
    expect(tier.bytes - nothing).to.be.at.most(16 * KILOBYTE);
    tier.push('b', [{ ...stored(1), event: aMessage({ payload: 'ж'.repeat(100_000) }) }], TEST_START);
    expect(tier.bytes - nothing).to.be.within(200_000, 220_000);
  });

  it('gives memory back when everything has become too old', () => {
    const tier = open();
    const nothing = tier.bytes;
    tier.push('a', someMessages(1, 500, TEST_START, 1_000), TEST_START);
    tier.evict(TEST_START + RETENTION_MS + 1_000);
    expect(numbers(tier, 'a')).to.deep.equal([]);
    expect(tier.bytes - nothing).to.be.at.most(16 * KILOBYTE);
  });

  it('shows nothing of a topic to those who read another one that came into its place', () => {
    const tier = open();
    tier.push('a', someMessages(1, 10), TEST_START);
    expect(numbers(tier, 'a')).to.have.length(10);
    tier.close('a');
    tier.open('c', BEGINNING);
    const others = someMessages(1, 10).map(({ offset, n }) => ({
      offset,
      n,
      event: aMessage({ payload: `"c${n}"` }),
    }));
    tier.push('c', others, TEST_START);
    expect(allOf(tier, 'c')).to.deep.equal(others);
  });

  it('makes an object of a message once for all who read it within moments', () => {
    const tier = open();
    tier.push('a', someMessages(1, 5), TEST_START);
    const [first, second] = [allOf(tier, 'a'), allOf(tier, 'a')];
    expect(first).to.have.length(5);
    first.forEach((message, i) => expect(second[i]).to.equal(message));
  });

  it('holds in memory what it says that it holds', () => {
    const topics = Array.from({ length: 1_000 }, (_, i) => `topic:${i}`);
    // Three times: what other tests have left is freed at any time, and then too little seems to have been taken. What is
    // kept here is not.
    const tiers: HotTier[] = [];
    const shares = [1, 2, 3].map(() => {
      const before = bytesOfProcess();
      const tier = new HotTier({ retentionMs: RETENTION_MS, bytesMax: 64 * KILOBYTE * KILOBYTE });
      tiers.push(tier);
      for (const topic of topics) tier.open(topic, BEGINNING);
      for (let n = 1; n <= 100; n++)
        for (const topic of topics) tier.push(topic, [stored(n, TEST_START, 200)], TEST_START);
      const grown = bytesOfProcess() - before;
      expect(numbers(tier, 'topic:7')).to.have.length(100);
      expect(tier.bytes / 100_000).to.be.below(300);
      return tier.bytes / grown;
    });
    expect(shares.sort((a, b) => a - b)[1]).to.be.within(0.9, 1.2);
    expect(tiers).to.have.length(3);
  });

  it('holds a hundred thousand topics with one message each in less than a kilobyte for each', () => {
    const before = bytesOfProcess();
    const tier = new HotTier({ retentionMs: RETENTION_MS, bytesMax: 256 * KILOBYTE * KILOBYTE });
    const topics = 100_000;
    for (let i = 0; i < topics; i++) {
      tier.open(`topic:${i}`, BEGINNING);
      tier.push(`topic:${i}`, [stored(1, TEST_START, 200)], TEST_START);
    }
    expect((bytesOfProcess() - before) / topics).to.be.below(KILOBYTE);
    expect(numbers(tier, `topic:${topics - 1}`)).to.deep.equal([1]);
    for (let i = 0; i < topics; i++) tier.close(`topic:${i}`);
    expect(tier.bytes).to.be.at.most(KILOBYTE * KILOBYTE);
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

  it('gives back every event as it was told, character by character', () => {
    // Any 16 bits: whole and broken surrogate pairs, zeros, line separators.
    const anyText = fc.oneof(
      fc.string(),
      fc.string({ unit: 'grapheme' }),
      fc
        .array(fc.integer({ min: 0, max: 0xffff }))
        .map((units) => units.map((unit) => String.fromCharCode(unit)).join('')),
      fc.json(),
      fc.constantFrom('"\\ud800"', '"\ud83d\ude00"', '"\ud83d"', '\u2028', 'é', '{"__proto__":1}'),
    );
    const place = fc.record({ offset: fc.maxSafeNat().map((offset) => offset as Offset), n: fc.nat() });
    const anyEvent: fc.Arbitrary<TopicEvent> = fc.oneof(
      { weight: 3, arbitrary: anyText.map((payload) => aMessage({ payload })) },
      {
        weight: 3,
        arbitrary: fc.record(
          {
            type: fc.constant('MessagePublished' as const),
            payload: anyText,
            expiresAt: fc.nat(),
            key: anyText,
            priority: fc.integer({ min: 0, max: 9 }),
            headers: fc.dictionary(anyText, anyText, { noNullPrototype: true }),
          },
          { requiredKeys: ['type', 'payload'] },
        ),
      },
      {
        weight: 1,
        arbitrary: fc.record(
          {
            type: fc.constant('MessagesLost' as const),
            reason: fc.constantFrom('storage_rollback' as const, 'stream_reset' as const),
            between: fc.record({ from: place, to: place }),
          },
          { requiredKeys: ['type', 'reason'] },
        ),
      },
    );
    fc.assert(
      fc.property(fc.array(anyEvent, { minLength: 1, maxLength: 20 }), (events) => {
        const tier = open();
        const told = events.map((event, i) => ({ ...placeOf(stored(i + 1)), event }));
        tier.push('a', told, TEST_START);
        expect(allOf(tier, 'a')).to.deep.equal(told);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is at any time what plain lists of objects would be, without the oldest of all where those would be too much', () => {
    const key = fc.constantFrom(...KEYS);
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          type: fc.constant('push' as const),
          key,
          count: fc.integer({ min: 1, max: 5 }),
          characters: fc.constantFrom(3, 200, 3_000, 5_000, LARGEST_CHARACTERS),
          filler: fc.constantFrom('x', 'ж'),
          skipped: fc.constantFrom(0, 0, 0, 0, 0, 0, 2),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant('wait' as const),
          ms: fc.constantFrom(1, 1_000, 20_000, 20_000, RETENTION_MS),
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
    let runsWithTooMuch = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }),
        fc.constantFrom(64 * KILOBYTE, 96 * KILOBYTE, 256 * KILOBYTE),
        (steps, bytesMax) => {
          const pair = new Pair(bytesMax);
          let now = TEST_START;
          for (const each of steps) {
            const end = 'key' in each ? pair.endOf(each.key) : BEGINNING;
            switch (each.type) {
              case 'push': {
                const from = end.n + 1 + each.skipped;
                const told = someMessages(from, from + each.count - 1, now).map(({ offset, n }) => ({
                  offset,
                  n,
                  event: aMessage({ payload: `${each.key}${n} `.padEnd(each.characters, each.filler) }),
                }));
                pair.push(each.key, told, now);
                break;
              }
              case 'wait':
                now += each.ms;
                pair.evict(now);
                break;
              case 'trim':
                pair.trim(each.key, (end.offset - each.keep + 1) as Offset);
                break;
              case 'remove':
                pair.remove(each.key, (end.offset - each.back) as Offset);
                break;
              case 'reopen':
                pair.open(each.key);
                break;
              case 'close':
                pair.close(each.key);
                break;
            }
            pair.expectAlike();
          }
          if (pair.hadTooMuch) runsWithTooMuch += 1;
        },
      ),
      { numRuns: 300 },
    );
    expect(runsWithTooMuch).to.be.above(20);
  });
});

const KEYS = ['a', 'b', 'c'];
const LARGEST_CHARACTERS = 12_000;
/** What goes in one go at most: a message of the largest size, two bytes a character, or a chunk. */
const LARGEST_CHUNK = LARGEST_CHARACTERS * 2 + 2 * KILOBYTE;

/** The tier, and the plain one that may hold as much as it likes. Both are told the same. */
class Pair {
  hadTooMuch = false;
  private readonly tier: HotTier;
  private readonly plain = new ObjectHotTier({ retentionMs: RETENTION_MS, bytesMax: Infinity });
  private readonly ends = new Map<string, Cursor>();
  /** All messages in the order in which they were told, over all topics. */
  private readonly order = new Map<string, number>();
  /** The newest message of each topic that the tier had no room for any more. */
  private readonly forgotten = new Map<string, Cursor>();
  private forgottenUntil = -1;

  constructor(private readonly bytesMax: number) {
    this.tier = new HotTier({ retentionMs: RETENTION_MS, bytesMax });
  }

  endOf(key: string): Cursor {
    return this.ends.get(key) ?? BEGINNING;
  }

  open(key: string): void {
    this.tier.open(key, this.endOf(key));
    this.plain.open(key, this.endOf(key));
    this.forgotten.delete(key);
  }

  close(key: string): void {
    this.tier.close(key);
    this.plain.close(key);
    this.forgotten.delete(key);
  }

  push(key: string, told: readonly Message[], now: number): void {
    if (told[0]!.n !== this.endOf(key).n + 1) this.forgotten.delete(key);
    for (const message of told) this.order.set(placeName(key, message), this.order.size);
    this.tier.push(key, told, now);
    this.plain.push(key, told, now);
    this.ends.set(key, placeOf(told[told.length - 1]!));
  }

  trim(key: string, below: Offset): void {
    this.tier.trim(key, below);
    this.plain.trim(key, below);
  }

  remove(key: string, offset: Offset): void {
    // What the tier does not hold it cannot lose.
    if (!allOf(this.tier, key).some((message) => message.offset === offset)) {
      this.tier.remove(key, [offset]);
      return;
    }
    this.tier.remove(key, [offset]);
    this.plain.remove(key, [offset]);
    this.forgotten.delete(key);
  }

  evict(now: number): void {
    this.tier.evict(now);
    this.plain.evict(now);
  }

  expectAlike(): void {
    expect(this.tier.bytes).to.be.at.most(this.bytesMax);
    let oldestHeld = Infinity;
    let newestMissing = -1;
    for (const key of KEYS) {
      const plain = this.plain.window(key);
      expect(this.tier.window(key) === undefined).to.equal(plain === undefined);
      if (plain === undefined) continue;
      const messages = plain.log.after(NO_OFFSET, EVERYTHING);
      const held = allOf(this.tier, key);
      const missing = messages.slice(0, messages.length - held.length);
      expect(held).to.deep.equal(messages.slice(missing.length));
      if (held[0] !== undefined) oldestHeld = Math.min(oldestHeld, this.order.get(placeName(key, held[0]))!);
      const newest = missing[missing.length - 1];
      if (newest !== undefined) {
        newestMissing = Math.max(newestMissing, this.order.get(placeName(key, newest))!);
        this.forgotten.set(key, placeOf(newest));
      }
      this.expectStart(key, plain.start);
      this.expectReads(key, held);
    }
    expect(newestMissing).to.be.below(oldestHeld);
    if (newestMissing <= this.forgottenUntil) return;
    this.hadTooMuch = true;
    this.forgottenUntil = newestMissing;
    // Something was forgotten just now, and no more than had to be: a chunk, beside what is kept for objects.
    expect(this.tier.bytes).to.be.above(this.bytesMax * (63 / 64) - LARGEST_CHUNK);
  }

  /** Where a trim of the plain one falls between a forgotten message and the next, both places in front of that do. */
  private expectStart(key: string, plain: Cursor): void {
    const forgotten = this.forgotten.get(key) ?? plain;
    const latest = forgotten.offset > plain.offset ? forgotten : plain;
    const { offset, n } = this.tier.window(key)!.start;
    expect(n).to.equal(latest.n);
    expect(offset).to.be.within(forgotten.n === n ? forgotten.offset : latest.offset, latest.offset);
  }

  private expectReads(key: string, held: readonly Recorded<TopicEvent>[]): void {
    const window = this.tier.window(key)!;
    const { start } = window;
    const below = { offset: (start.offset - 1) as Offset, n: start.n - 1 };
    for (const from of [below, start, ...held.slice(0, 5).map(placeOf), ...held.slice(-2).map(placeOf)]) {
      const above = held.filter(({ offset }) => offset > from.offset).slice(0, 3);
      const isHeld = from.offset >= start.offset && above.length > 0;
      expect(window.after(from.offset, 3)).to.deep.equal(isHeld ? above : undefined);
      const isNext = isHeld && above[0]!.n === from.n + 1;
      expect(window.next(from, 3)).to.deep.equal(isNext ? above : undefined);
      expect(window.next({ ...from, n: from.n + 1 }, 3)).to.equal(undefined);
    }
  }
}

const placeName = (key: string, { offset }: Cursor): string => `${key} ${offset}`;
