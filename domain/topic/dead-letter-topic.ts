/**
 * Where the messages go that a subscription gives up: a topic for each topic, named by a template such as
 * `dlq.{topic}`. Messages of such a topic are not given up again, or each failure would found a topic.
 */
import { either as E } from 'fp-ts';
import { parseTopicName, type TopicName } from './topic-name.js';

const PLACEHOLDER = '{topic}';

/** For topics whose dead-letter topic would have more segments or bytes than a topic may. */
const OVERFLOW = 'overflow';

export const deadLetterTopicOf = (template: string, topic: TopicName): TopicName | undefined => {
  if (template === '' || isDeadLetterTopic(template, topic)) return undefined;
  const named = parseTopicName(template.replace(PLACEHOLDER, topic));
  if (E.isRight(named)) return named.right;
  const shorter = parseTopicName(template.replace(PLACEHOLDER, OVERFLOW));
  return E.isRight(shorter) ? shorter.right : undefined;
};

export const isDeadLetterTopic = (template: string, topic: TopicName): boolean => {
  const [before = '', after] = template.split(PLACEHOLDER);
  if (after === undefined) return topic === template;
  return topic.length > before.length + after.length && topic.startsWith(before) && topic.endsWith(after);
};
