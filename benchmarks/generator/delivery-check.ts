/**
 * Has every subscriber received every message once and in order? Checks each delivery while it costs nothing: in the
 * usual case one compare and one multiplication. Only what is missing is kept in sets.
 */
export interface CheckSettings {
  readonly subscribers: number;
  /** Subscriber s follows topic s modulo this. */
  readonly topics: number;
  /** Producers of each topic. Message k of a producer has the sequence number k * lanes + producer. */
  readonly lanes: number;
}

export class DeliveryCheck {
  private readonly expected: Int32Array;
  /** Of all sequence numbers in the order received: subscribers of one topic must see the same order. */
  private readonly orders: Int32Array;
  /** What was skipped, by subscriber and lane; it may still come. */
  private readonly missing = new Map<number, Set<number>>();
  private duplicated = 0;
  private reordered = 0;

  constructor(private readonly settings: CheckSettings) {
    this.expected = new Int32Array(settings.subscribers * settings.lanes);
    this.orders = new Int32Array(settings.subscribers);
  }

  onDelivery(subscriber: number, sequence: number): void {
    this.orders[subscriber] = Math.imul(this.orders[subscriber]!, 31) + sequence;
    const { lanes } = this.settings;
    const lane = sequence % lanes;
    const at = subscriber * lanes + lane;
    const count = (sequence - lane) / lanes;
    if (count === this.expected[at]) this.expected[at] = count + 1;
    else this.onUnexpected(at, count);
  }

  /** `answeredOn`: how many messages of a producer the service has promised to deliver. */
  finish(answeredOn: (topic: number, lane: number) => number): {
    readonly lost: number;
    readonly duplicated: number;
    readonly reordered: number;
  } {
    const { subscribers, topics, lanes } = this.settings;
    let lost = 0;
    for (const counts of this.missing.values()) lost += counts.size;
    for (let subscriber = 0; subscriber < subscribers; subscriber++) {
      for (let lane = 0; lane < lanes; lane++) {
        lost += Math.max(
          0,
          answeredOn(subscriber % topics, lane) - this.expected[subscriber * lanes + lane]!,
        );
      }
    }
    const isWhole = lost === 0 && this.duplicated === 0 && this.reordered === 0;
    const different = this.orders.reduce(
      (sum, order, subscriber) => sum + (order === this.orders[subscriber % topics] ? 0 : 1),
      0,
    );
    return {
      lost,
      duplicated: this.duplicated,
      // With something missing or doubled the orders differ anyway, and that is counted already.
      reordered: isWhole ? different : this.reordered,
    };
  }

  private onUnexpected(at: number, count: number): void {
    const missing = this.missing.get(at) ?? new Set<number>();
    this.missing.set(at, missing);
    const expected = this.expected[at]!;
    if (count < expected) {
      if (missing.delete(count)) this.reordered += 1;
      else this.duplicated += 1;
      return;
    }
    for (let skipped = expected; skipped < count; skipped++) missing.add(skipped);
    this.expected[at] = count + 1;
  }
}
