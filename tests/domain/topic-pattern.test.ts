import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import type { TopicName } from '../../domain/topic/topic-name.js';
import {
  covers,
  isTopicName,
  matches,
  parseTopicPattern,
  type TopicPattern,
} from '../../domain/topic/topic-pattern.js';
import { anyTopicName, anyTopicPattern } from '../support/arbitraries.js';
import { aPattern, aTopic } from '../support/builders.js';

/** The meaning of a pattern, said in another language. */
const oracle = (pattern: TopicPattern, topic: TopicName): boolean => {
  const segments = pattern.split('.').map((segment) => {
    if (segment === '*') return '[^.]+';
    return segment === '>' ? '[^.]+(\\.[^.]+)*' : segment;
  });
  return new RegExp(`^${segments.join('\\.')}$`).test(topic);
};

const why = (input: string): string | undefined => {
  const parsed = parseTopicPattern(input);
  return E.isLeft(parsed) ? parsed.left.why : undefined;
};

describe('A topic pattern', () => {
  it('says why it may not be', () => {
    expect(why('')).to.equal('must not be empty');
    expect(why('$system.>')).to.equal('names that start with $ are reserved');
    expect(why('orders.>.created')).to.equal('> may only be the last segment');
    expect(why('*.*.*.*.*.*.*.*.>')).to.equal('must not have more than 8 segments');
    expect(why(`${'x'.repeat(64)}.`.repeat(4) + '>')).to.equal('must not be longer than 255 bytes');
    for (const input of ['a*', '*a', 'a.**', 'a.>>', 'a..b', 'a b', 'a.', '?', 'a\n', 'x'.repeat(65)]) {
      expect(why(input), input).to.equal(
        'must be segments of 1 to 64 letters, digits, _ or -, or *, or a final >',
      );
    }
  });

  it('lets * stand for exactly one segment', () => {
    const pattern = aPattern('orders.*.created');
    expect(matches(pattern, aTopic('orders.eu.created'))).to.equal(true);
    expect(matches(pattern, aTopic('orders.created'))).to.equal(false);
    expect(matches(pattern, aTopic('orders.eu.west.created'))).to.equal(false);
  });

  it('lets a final > stand for one segment or more', () => {
    const pattern = aPattern('orders.>');
    expect(matches(pattern, aTopic('orders.eu'))).to.equal(true);
    expect(matches(pattern, aTopic('orders.eu.created'))).to.equal(true);
    expect(matches(pattern, aTopic('orders'))).to.equal(false);
    expect(matches(pattern, aTopic('orders-eu'))).to.equal(false);
  });

  it('that is a name matches that name only', () => {
    fc.assert(
      fc.property(anyTopicName, anyTopicName, (one, other) => {
        expect(isTopicName(one)).to.equal(true);
        expect(matches(aPattern(one), other)).to.equal(one === other);
      }),
    );
  });

  it('matches what its meaning says', () => {
    fc.assert(
      fc.property(anyTopicPattern, anyTopicName, (pattern, topic) => {
        expect(matches(pattern, topic)).to.equal(oracle(pattern, topic));
      }),
      { numRuns: 2_000 },
    );
  });

  it('that covers another matches everything that the other matches', () => {
    fc.assert(
      fc.property(anyTopicPattern, anyTopicPattern, anyTopicName, (outer, inner, topic) => {
        fc.pre(covers(outer, inner) && matches(inner, topic));
        expect(matches(outer, topic)).to.equal(true);
      }),
      { numRuns: 500, maxSkipsPerRun: 1_000 },
    );
  });

  it('that does not cover another of fewer than eight segments misses a topic that the other matches', () => {
    // With eight, the longest topic there is fills every place, and `>` means no more than `*`: refused all the same.
    const isShort = (pattern: TopicPattern): boolean => pattern.split('.').length < 8;
    fc.assert(
      fc.property(anyTopicPattern.filter(isShort), anyTopicPattern.filter(isShort), (outer, inner) => {
        fc.pre(!covers(outer, inner));
        const witnesses = ['q', 'q.q'].map((rest) => aTopic(inner.replace('>', rest).replaceAll('*', 'q')));
        expect(witnesses.every((topic) => matches(inner, topic))).to.equal(true);
        expect(witnesses.some((topic) => !matches(outer, topic))).to.equal(true);
      }),
    );
  });

  it('covers itself, and > covers everything', () => {
    fc.assert(
      fc.property(anyTopicPattern, (pattern) => {
        expect(covers(pattern, pattern)).to.equal(true);
        expect(covers(aPattern('>'), pattern)).to.equal(true);
      }),
    );
  });

  it('covers a name exactly where it matches it', () => {
    fc.assert(
      fc.property(anyTopicPattern, anyTopicName, (pattern, name) => {
        expect(covers(pattern, aPattern(name))).to.equal(matches(pattern, name));
      }),
    );
  });
});
