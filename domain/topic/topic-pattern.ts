/**
 * What subscriptions and grants may name: a topic, or a pattern in which `*` stands for exactly one segment and a
 * final `>` for one or more. `orders.*.created`, `orders.>`, `>`.
 */
import { either as E } from 'fp-ts';
import type { Branded } from '../branded.js';
import { SEGMENT_PATTERN, TOPIC_BYTES_MAX, TOPIC_SEGMENTS_MAX, type TopicName } from './topic-name.js';

export type TopicPattern = Branded<string, 'TopicPattern'>;

export interface InvalidTopicPattern {
  readonly _tag: 'InvalidTopicPattern';
  readonly input: string;
  readonly why: string;
}

export const EVERY_TOPIC = '>' as TopicPattern;

export const parseTopicPattern = (input: string): E.Either<InvalidTopicPattern, TopicPattern> => {
  const why = whyInvalid(input);
  return why === undefined
    ? E.right(input as TopicPattern)
    : E.left({ _tag: 'InvalidTopicPattern', input, why });
};

const whyInvalid = (input: string): string | undefined => {
  if (input === '') return 'must not be empty';
  if (input.startsWith('$')) return 'names that start with $ are reserved';
  if (input.length > TOPIC_BYTES_MAX) return `must not be longer than ${TOPIC_BYTES_MAX} bytes`;
  const segments = input.split('.');
  if (segments.length > TOPIC_SEGMENTS_MAX) return `must not have more than ${TOPIC_SEGMENTS_MAX} segments`;
  const wrong = segments.findIndex(
    (segment, i) =>
      !(SEGMENT_PATTERN.test(segment) || segment === '*' || (segment === '>' && i === segments.length - 1)),
  );
  if (wrong === -1) return undefined;
  return segments[wrong] === '>'
    ? '> may only be the last segment'
    : 'must be segments of 1 to 64 letters, digits, _ or -, or *, or a final >';
};

/** True where the text names one topic and nothing else; every topic name is also a pattern that matches itself. */
export const isTopicName = (pattern: TopicPattern | TopicName): pattern is TopicPattern & TopicName =>
  !pattern.includes('*') && !pattern.includes('>');

/** Does `topic` match? Time is linear in the segments, of which there are at most eight. */
export const matches = (pattern: TopicPattern, topic: TopicName): boolean => {
  if (pattern === EVERY_TOPIC) return true;
  if (isTopicName(pattern)) return (pattern as string) === topic;
  const wanted = pattern.split('.');
  const given = topic.split('.');
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === '>') return given.length > i;
    if (i >= given.length || (wanted[i] !== '*' && wanted[i] !== given[i])) return false;
  }
  return wanted.length === given.length;
};

/** Is every topic that `inner` can match also matched by `outer`? This is how a grant covers a subscription. */
export const covers = (outer: TopicPattern, inner: TopicPattern): boolean => {
  const wide = outer.split('.');
  const narrow = inner.split('.');
  for (let i = 0; i < wide.length; i++) {
    if (wide[i] === '>') return narrow.length > i;
    if (i >= narrow.length || narrow[i] === '>') return false;
    if (wide[i] !== '*' && wide[i] !== narrow[i]) return false;
  }
  return wide.length === narrow.length;
};
