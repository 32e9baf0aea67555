/** A publish request as bytes that are made once; from then on only the digits in them change. */
import { writeDigits } from './digits.js';
import { PAYLOAD_HEAD, writePayload } from './payload.js';
import { TOPIC_DIGITS, type TopicSet } from './topic-set.js';

export class RequestTemplate {
  private readonly payloadsAt: readonly number[];
  private readonly topicsAt: readonly number[];

  /** `bytes` names the first of `topics`, once or several times. */
  constructor(
    readonly bytes: Buffer,
    topics: TopicSet,
  ) {
    this.payloadsAt = placesOf(bytes, PAYLOAD_HEAD);
    const first = topics.name(0);
    this.topicsAt = placesOf(bytes, first).map((at) => at + first.length - TOPIC_DIGITS);
  }

  /** From now on it goes to this topic. */
  address(topic: number): void {
    for (const at of this.topicsAt) writeDigits(this.bytes, at, TOPIC_DIGITS, topic);
  }

  stamp(index: number, sequence: number, sentAtMs: number): void {
    writePayload(this.bytes, this.payloadsAt[index]!, sequence, sentAtMs);
  }
}

const placesOf = (bytes: Buffer, text: string): readonly number[] => {
  const places: number[] = [];
  for (let at = bytes.indexOf(text); at !== -1; at = bytes.indexOf(text, at + 1)) places.push(at);
  return places;
};
