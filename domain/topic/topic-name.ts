/**
 * The grammar of topic names: `segment(.segment)*`, a segment is `[A-Za-z0-9_-]{1,64}`, at most 8 segments and
 * 255 bytes. Nothing else is valid, so a name is safely part of a key. Names whose first segment starts with `$`
 * are reserved and are refused with the rest.
 */
import { either as E } from 'fp-ts';
import type { Branded } from '../branded.js';

export type TopicName = Branded<string, 'TopicName'>;

export interface InvalidTopicName {
  readonly _tag: 'InvalidTopicName';
  readonly input: string;
  readonly why: string;
}

export const TOPIC_SEGMENTS_MAX = 8;
export const TOPIC_BYTES_MAX = 255;
export const SEGMENT_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

const TOPIC_PATTERN = /^[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,7}$/;

export const parseTopicName = (input: string): E.Either<InvalidTopicName, TopicName> =>
  input.length <= TOPIC_BYTES_MAX && TOPIC_PATTERN.test(input)
    ? E.right(input as TopicName)
    : E.left({ _tag: 'InvalidTopicName', input, why: whyInvalid(input) });

const whyInvalid = (input: string): string => {
  if (input === '') return 'must not be empty';
  if (input.startsWith('$')) return 'names that start with $ are reserved';
  if (input.length > TOPIC_BYTES_MAX) return `must not be longer than ${TOPIC_BYTES_MAX} bytes`;
  if (input.split('.').length > TOPIC_SEGMENTS_MAX)
    return `must not have more than ${TOPIC_SEGMENTS_MAX} segments`;
  return 'must be segments of 1 to 64 letters, digits, _ or - separated by dots';
};
