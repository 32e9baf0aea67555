/**
 * Chance that can be repeated: everything that a fault run decides by chance comes from one seed, and every part of
 * the run draws from a stream of its own, so that one part's timing does not change another's choices.
 */

/** Mulberry32, by Tommy Ettinger: small, fast, and far better than chance needs to be here. */
export class Random {
  private state: number;

  constructor(readonly seed: number) {
    this.state = seed >>> 0;
  }

  /** From 0 up to, and without, 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<A>(items: readonly A[]): A {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** Another stream of the same seed. */
  fork(name: string): Random {
    let hash = this.seed;
    for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
    return new Random(hash);
  }
}

const SEED_MAX = 2 ** 31 - 1;

/** FAULTS_SEED where it is set, so that a run can be repeated; else another one every time. */
export const seedFromEnvironment = (): number => {
  const wanted = process.env['FAULTS_SEED'];
  return wanted === undefined || wanted === '' ? Math.floor(Math.random() * SEED_MAX) : Number(wanted);
};
