/**
 * Publishes to one topic over a number of connections ("lanes"). Order is promised for what one producer sends after
 * an answer, so each lane counts for itself: message k of a lane has the sequence number k * lanes + lane.
 */
import { HttpConnection } from './http-connection.js';
import type { Job } from './job.js';
import { PublishRequest } from './publish-request.js';

export interface PublisherSettings {
  readonly topic: string;
  readonly lanes: number;
  /** Messages in one request; more than one is a bulk. */
  readonly batch: number;
}

interface Lane {
  readonly index: number;
  readonly connection: HttpConnection;
  readonly request: PublishRequest;
  /** Messages sent. */
  sent: number;
  /** Messages of them that were answered with 201. */
  answered: number;
}

export class Publisher {
  /** Messages sent over all lanes. */
  sent = 0;
  /** Messages that were answered with 201. */
  answered = 0;
  /** Called after every answer, with how long it took and when it came. */
  onAnswer: (milliseconds: number, now: number) => void = () => undefined;
  readonly failures: string[] = [];
  private readonly free: Lane[];

  private constructor(
    private readonly lanes: readonly Lane[],
    private readonly batch: number,
  ) {
    this.free = [...lanes];
  }

  static async open({ port, apiKey }: Job, { topic, lanes, batch }: PublisherSettings): Promise<Publisher> {
    const opened = Array.from({ length: lanes }, async (_, index): Promise<Lane> => ({
      index,
      connection: await HttpConnection.open(port),
      request: new PublishRequest(topic, apiKey, batch),
      sent: 0,
      answered: 0,
    }));
    return new Publisher(await Promise.all(opened), batch);
  }

  get hasFreeLane(): boolean {
    return this.free.length > 0;
  }

  /** Only where there is a free lane. `at` is the time that the messages say they were sent at. */
  publish(at: number): void {
    const lane = this.free.pop();
    if (lane === undefined) throw new Error('no lane is free');
    for (let i = 0; i < this.batch; i++) {
      lane.request.stamp(i, (lane.sent + i) * this.lanes.length + lane.index, at);
    }
    lane.sent += this.batch;
    this.sent += this.batch;
    const sentAt = performance.now();
    lane.connection.send(lane.request.bytes, (status, body) => {
      if (status === 201) {
        lane.answered += this.batch;
        this.answered += this.batch;
        this.free.push(lane);
      } else this.failures.push(`publish answered ${status}: ${body()}`);
      const now = performance.now();
      this.onAnswer(now - sentAt, now);
    });
  }

  get isIdle(): boolean {
    return !this.lanes.some(({ connection }) => connection.isBusy);
  }

  /** How many messages of each lane must arrive. A lane stops at its first failure, so they are its first ones. */
  get answeredByLane(): readonly number[] {
    return this.lanes.map(({ answered }) => answered);
  }

  close(): void {
    for (const { connection } of this.lanes) connection.close();
  }
}
