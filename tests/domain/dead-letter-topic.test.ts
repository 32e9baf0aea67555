import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { deadLetterTopicOf, isDeadLetterTopic } from '../../domain/topic/dead-letter-topic.js';
import { parseTopicName, TOPIC_BYTES_MAX } from '../../domain/topic/topic-name.js';
import { anyTopicName } from '../support/arbitraries.js';
import { aTopic } from '../support/builders.js';

const TEMPLATE = 'dlq.{topic}';

const anyTemplate = fc.constantFrom(
  TEMPLATE,
  '{topic}.dead',
  'x.{topic}.y',
  'dead-{topic}',
  'dead',
  '{topic}',
);

describe('The dead-letter topic of a topic', () => {
  it('is named by the template, with text before and behind', () => {
    const orders = aTopic('orders.eu');
    expect(deadLetterTopicOf(TEMPLATE, orders)).to.equal('dlq.orders.eu');
    expect(deadLetterTopicOf('{topic}.dead', orders)).to.equal('orders.eu.dead');
    expect(deadLetterTopicOf('ops.{topic}-dead.all', orders)).to.equal('ops.orders.eu-dead.all');
  });

  it('is one and the same for all topics where the template does not name them', () => {
    expect(deadLetterTopicOf('dead.letters', aTopic('orders'))).to.equal('dead.letters');
    expect(deadLetterTopicOf('dead.letters', aTopic('users'))).to.equal('dead.letters');
  });

  it('does not exist where there is no template, or none that can name a topic', () => {
    expect(deadLetterTopicOf('', aTopic('orders'))).to.be.undefined;
    expect(deadLetterTopicOf('$dlq.{topic}', aTopic('orders'))).to.be.undefined;
    expect(deadLetterTopicOf('dead letters', aTopic('orders'))).to.be.undefined;
  });

  it('is the overflow where it would have too many segments, or be too long', () => {
    const deep = aTopic('a.b.c.d.e.f.g.h');
    const long = aTopic([60, 60, 60, 60].map((length) => 'a'.repeat(length)).join('.'));
    const wide = aTopic('a'.repeat(64));
    expect(deadLetterTopicOf(TEMPLATE, deep)).to.equal('dlq.overflow');
    expect(deadLetterTopicOf('{topic}.dead', deep)).to.equal('overflow.dead');
    expect(long.length + 'dead-letters.'.length).to.be.above(TOPIC_BYTES_MAX);
    expect(deadLetterTopicOf('dead-letters.{topic}', long)).to.equal('dead-letters.overflow');
    expect(deadLetterTopicOf('x-{topic}', wide)).to.equal('x-overflow');
    expect(deadLetterTopicOf(TEMPLATE, wide)).to.equal(`dlq.${wide}`);
  });

  it('has none itself, whatever the template and the topic', () => {
    fc.assert(
      fc.property(anyTemplate, anyTopicName, (template, topic) => {
        const deadLetters = deadLetterTopicOf(template, topic);
        if (deadLetters === undefined) return;
        expect(E.isRight(parseTopicName(deadLetters))).to.be.true;
        expect(isDeadLetterTopic(template, deadLetters)).to.be.true;
        expect(deadLetterTopicOf(template, deadLetters)).to.be.undefined;
      }),
    );
  });

  it('is told from topics that only resemble it', () => {
    const are = (template: string, ...topics: readonly string[]) =>
      topics.map((topic) => isDeadLetterTopic(template, aTopic(topic)));
    expect(are(TEMPLATE, 'dlq.orders', 'dlq.overflow')).to.deep.equal([true, true]);
    expect(are(TEMPLATE, 'dlq', 'dlqorders', 'orders.dlq', 'my.dlq.orders')).to.deep.equal([
      false,
      false,
      false,
      false,
    ]);
    expect(are('a.{topic}.z', 'a.b.z', 'a.z', 'a.b', 'b.z')).to.deep.equal([true, false, false, false]);
    expect(are('dead', 'dead', 'dead.orders')).to.deep.equal([true, false]);
  });

  it('is given to every topic that can have one, by a template that stands apart', () => {
    fc.assert(
      fc.property(anyTopicName, (topic) => {
        fc.pre(!isDeadLetterTopic(TEMPLATE, topic));
        expect(deadLetterTopicOf(TEMPLATE, topic)).to.be.oneOf([`dlq.${topic}`, 'dlq.overflow']);
      }),
    );
  });
});
