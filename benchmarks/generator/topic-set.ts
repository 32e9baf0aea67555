/** The topics of one run. Their names differ in five digits only, so that a request is readdressed in place. */
import { randomBytes } from 'node:crypto';

export const TOPIC_DIGITS = 5;
const TOPICS_MAX = 10 ** TOPIC_DIGITS;

export class TopicSet {
  /** Every run has topics of its own: no backlog, and nothing to mistake for its own messages. */
  private readonly base: string;

  constructor(
    kind: string,
    readonly count: number,
  ) {
    if (count > TOPICS_MAX) throw new Error(`${count} topics are more than ${TOPICS_MAX}`);
    this.base = `bench.${kind}.${randomBytes(4).toString('hex')}.`;
  }

  name(index: number): string {
    return this.base + String(index).padStart(TOPIC_DIGITS, '0');
  }
}
