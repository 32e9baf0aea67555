/**
 * Topic: decides what may be published. A topic's stream is the list of its messages; publishing depends on the limits
 * and on nothing that was published before, so a publish never has to read its topic.
 */
import { either as E } from 'fp-ts';
import type { Decider } from '../decider.js';
import type { Instant } from '../time.js';
import type { MessagePublished, TopicEvent } from './topic-events.js';

// Commands

/** A message as the producer sent it. `payload` is JSON text. */
export interface Publication {
  readonly payload: string;
  /** How long the message may be delivered, in seconds. */
  readonly ttlSeconds?: number;
  readonly key?: string;
  readonly priority?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface PublishLimits {
  readonly payloadBytesMax: number;
}

export interface PublishMessages {
  readonly type: 'PublishMessages';
  readonly publications: readonly Publication[];
  readonly limits: PublishLimits;
  readonly now: Instant;
}

export type TopicCommand = PublishMessages;

// State

/** How many messages were ever published; nothing else of the past matters to a publish. */
export interface Topic {
  readonly published: number;
}

// Refusals

export interface PayloadTooLarge {
  readonly _tag: 'PayloadTooLarge';
  readonly payloadBytesMax: number;
}

export interface InvalidPublication {
  readonly _tag: 'InvalidPublication';
  readonly field: 'ttl' | 'key' | 'priority' | 'headers';
  readonly why: string;
}

export type TopicRefusal = PayloadTooLarge | InvalidPublication;

/** Ten years. Longer is a mistake in the unit, and must not push an instant out of the safe integers. */
const TTL_SECONDS_MAX = 315_360_000;
const KEY_CHARACTERS_MAX = 256;
/** Headers travel with every delivery: room for trace context and routing hints, not for a second payload. */
const HEADERS_MAX = 32;
const HEADERS_CHARACTERS_MAX = 8192;
const HEADER_NAME_PATTERN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const PRIORITY_MAX = 9;

const decide = (_topic: Topic, command: TopicCommand): E.Either<TopicRefusal, readonly TopicEvent[]> => {
  const events: MessagePublished[] = [];
  for (const publication of command.publications) {
    const refusal = refusalOf(publication, command.limits);
    if (refusal !== undefined) return E.left(refusal);
    events.push(toMessagePublished(publication, command.now));
  }
  return E.right(events);
};

/** A topic has one kind of event, so there is nothing to tell apart. */
const evolve = (topic: Topic): Topic => ({ published: topic.published + 1 });

export const topic: Decider<TopicCommand, Topic, TopicEvent, TopicRefusal> = {
  initialState: { published: 0 },
  decide,
  evolve,
};

const refusalOf = (publication: Publication, limits: PublishLimits): TopicRefusal | undefined => {
  const { payload, ttlSeconds, key, priority, headers } = publication;
  if (utf8BytesExceed(payload, limits.payloadBytesMax)) {
    return { _tag: 'PayloadTooLarge', payloadBytesMax: limits.payloadBytesMax };
  }
  if (ttlSeconds !== undefined && !(ttlSeconds > 0 && ttlSeconds <= TTL_SECONDS_MAX)) {
    return invalid('ttl', `must be more than 0 and at most ${TTL_SECONDS_MAX} seconds`);
  }
  if (key !== undefined && (key.length < 1 || key.length > KEY_CHARACTERS_MAX)) {
    return invalid('key', `must have 1 to ${KEY_CHARACTERS_MAX} characters`);
  }
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= 0 && priority <= PRIORITY_MAX)) {
    return invalid('priority', `must be a whole number from 0 to ${PRIORITY_MAX}`);
  }
  return headers === undefined ? undefined : refusalOfHeaders(headers);
};

const refusalOfHeaders = (headers: Readonly<Record<string, string>>): InvalidPublication | undefined => {
  const entries = Object.entries(headers);
  if (entries.length > HEADERS_MAX)
    return invalid('headers', `must not have more than ${HEADERS_MAX} entries`);
  const wrong = entries.find(([name]) => !HEADER_NAME_PATTERN.test(name));
  if (wrong !== undefined) return invalid('headers', 'names must be 1 to 128 characters of an HTTP token');
  const characters = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  return characters > HEADERS_CHARACTERS_MAX
    ? invalid('headers', `must not exceed ${HEADERS_CHARACTERS_MAX} characters in all`)
    : undefined;
};

const invalid = (field: InvalidPublication['field'], why: string): InvalidPublication => ({
  _tag: 'InvalidPublication',
  field,
  why,
});

const toMessagePublished = (publication: Publication, now: Instant): MessagePublished => ({
  type: 'MessagePublished',
  payload: publication.payload,
  ...(publication.ttlSeconds === undefined
    ? {}
    : { expiresAt: now + Math.ceil(publication.ttlSeconds * 1000) }),
  ...(publication.key === undefined ? {} : { key: publication.key }),
  ...(publication.priority === undefined ? {} : { priority: publication.priority }),
  ...(publication.headers === undefined ? {} : { headers: publication.headers }),
});

/** Is the text longer than `max` bytes in UTF-8? Counts only where the cheap bounds leave it open. */
const utf8BytesExceed = (text: string, max: number): boolean => {
  if (text.length > max) return true;
  if (text.length * 3 <= max) return false;
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit >= 0xd800 && unit < 0xdc00) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes > max;
};
