/** Generators of valid domain values for properties. */
import fc from 'fast-check';
import type { Offset } from '../../domain/message/offset.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import type { TopicPattern } from '../../domain/topic/topic-pattern.js';
import { aPattern, aTopic } from './builders.js';

/** Few distinct segments, so that generated names and patterns meet often. */
const aSegment = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('a', 'b', 'A') },
  { weight: 1, arbitrary: fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/) },
);

export const anyTopicName: fc.Arbitrary<TopicName> = fc
  .array(aSegment, { minLength: 1, maxLength: 8 })
  .map((segments) => aTopic(segments.join('.')));

export const anyTopicPattern: fc.Arbitrary<TopicPattern> = fc
  .tuple(
    fc.array(fc.oneof(aSegment, fc.constant('*')), { minLength: 0, maxLength: 7 }),
    fc.oneof(aSegment, fc.constantFrom('*', '>')),
  )
  .map(([segments, last]) => aPattern([...segments, last].join('.')));

export const anyOffset: fc.Arbitrary<Offset> = fc.maxSafeNat().map((offset) => offset as Offset);
