/**
 * Publishes over a number of connections ("lanes"). Order is promised for what one producer sends after an answer.
 * Where there is one topic, all lanes publish to it and each counts for itself: message k of a lane has the sequence
 * number k * lanes + lane. Where there are several, each belongs to one lane, which serves its own in turn.
 */
import { CLIENTS } from './clients/registry.js';
import type { Lane } from './clients/service-client.js';
import type { Job } from './job.js';
import type { TopicSet } from './topic-set.js';

export interface PublisherSettings {
  readonly topics: TopicSet;
  readonly lanes: number;
  /** Messages in one request; more than one is a bulk, where the service has that. */
  readonly batch: number;
  readonly by?: 'http' | 'socket';
}

/** How many lanes publish to each topic. */
export const lanesPerTopic = (topics: TopicSet, lanes: number): number => (topics.count === 1 ? lanes : 1);

interface CountedLane {
  readonly index: number;
  readonly lane: Lane;
  /** Of its own topics, the one whose turn it is. */
  topic: number;
}

export class Publisher {
  /** Messages sent over all lanes. */
  sent = 0;
  /** Messages that were taken by the service. */
  answered = 0;
  /** Called after every answer, with how long it took and when it came. */
  onAnswer: (milliseconds: number, now: number) => void = () => undefined;
  readonly failures: string[] = [];
  readonly lanesPerTopic: number;
  private readonly free: CountedLane[];
  /** By lane where they share one topic, otherwise by topic. */
  private readonly sentBy: Int32Array;
  private readonly answeredBy: Int32Array;

  private constructor(
    private readonly lanes: readonly CountedLane[],
    private readonly topics: TopicSet,
    readonly batch: number,
  ) {
    this.free = [...lanes];
    const isShared = topics.count === 1;
    this.lanesPerTopic = lanesPerTopic(topics, lanes.length);
    this.sentBy = new Int32Array(isShared ? lanes.length : topics.count);
    this.answeredBy = new Int32Array(this.sentBy.length);
  }

  static async open(job: Job, { topics, lanes, batch, by }: PublisherSettings): Promise<Publisher> {
    const client = CLIENTS[job.client];
    const settings = { topics, batch: Math.min(batch, client.bulkMax) };
    const open = by === 'socket' ? client.openSocketLane : client.openLane;
    if (open === undefined) throw new Error(`${job.client} does not publish by ${by}`);
    // A lane without a topic of its own would have nothing to do.
    const count = topics.count === 1 ? lanes : Math.min(lanes, topics.count);
    const opened = Array.from({ length: count }, async (_, index): Promise<CountedLane> => {
      const lane = await open(job, settings);
      return { index, lane, topic: topics.count === 1 ? 0 : index };
    });
    return new Publisher(await Promise.all(opened), topics, settings.batch);
  }

  get hasFreeLane(): boolean {
    return this.free.length > 0;
  }

  /** Only where there is a free lane. `at` is the time that the messages say they were sent at. */
  publish(at: number): void {
    const counted = this.free.pop();
    if (counted === undefined) throw new Error('no lane is free');
    this.publishOn(counted, at);
  }

  /** The same to a topic that has had no message yet. False where no lane is free that has such a one. */
  publishFirst(at: number): boolean {
    const place = this.free.findIndex(({ topic }) => this.sentBy[topic] === 0);
    const [counted] = place === -1 ? [] : this.free.splice(place, 1);
    if (counted === undefined) return false;
    this.publishOn(counted, at);
    return true;
  }

  /** Nothing is on its way. A lane that has failed does not answer any more. */
  get isIdle(): boolean {
    return this.sent === this.answered || this.free.length + this.failures.length >= this.lanes.length;
  }

  /** How many messages must arrive. A lane stops at its first failure, so they are its first ones. */
  answeredOn(topic: number, lane: number): number {
    return this.answeredBy[this.topics.count === 1 ? lane : topic]!;
  }

  close(): void {
    for (const { lane } of this.lanes) lane.close();
  }

  private publishOn(counted: CountedLane, at: number): void {
    const { index, lane, topic } = counted;
    const { batch, lanesPerTopic } = this;
    const isShared = this.topics.count === 1;
    const producer = isShared ? index : topic;
    if (!isShared) {
      lane.template.address(topic);
      counted.topic = topic + this.lanes.length < this.topics.count ? topic + this.lanes.length : index;
    }
    const first = this.sentBy[producer]!;
    const offset = isShared ? index : 0;
    for (let i = 0; i < batch; i++) lane.template.stamp(i, (first + i) * lanesPerTopic + offset, at);
    this.sentBy[producer] = first + batch;
    this.sent += batch;
    const sentAt = performance.now();
    lane.send((failure) => {
      if (failure === undefined) {
        this.answeredBy[producer]! += batch;
        this.answered += batch;
        this.free.push(counted);
      } else this.failures.push(failure);
      const now = performance.now();
      this.onAnswer(now - sentAt, now);
    });
  }
}
