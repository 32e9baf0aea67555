/** Latencies of one window, kept whole: percentiles of a few hundred thousand numbers need no approximation. */
export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly samples: number;
}

const CAPACITY = 1 << 16;

export class Latencies {
  private values = new Float64Array(CAPACITY);
  private count = 0;

  add(milliseconds: number): void {
    if (this.count === this.values.length) {
      const larger = new Float64Array(this.count * 2);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.count++] = milliseconds;
  }

  /** Undefined where nothing was measured. */
  percentiles(): Percentiles | undefined {
    if (this.count === 0) return undefined;
    const sorted = this.values.subarray(0, this.count).sort();
    const at = (share: number): number => sorted[Math.min(this.count - 1, Math.floor(this.count * share))]!;
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99), samples: this.count };
  }
}
