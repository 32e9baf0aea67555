/** `topic:ms-seq`: opaque to clients, and enough for any instance to find the message. */
import { either as E } from 'fp-ts';
import { parseTopicName, type TopicName } from '../topic/topic-name.js';
import { formatOffset, parseOffset, type Offset } from './offset.js';

export interface MessageId {
  readonly topic: TopicName;
  readonly offset: Offset;
}

export interface InvalidMessageId {
  readonly _tag: 'InvalidMessageId';
  readonly input: string;
}

export const formatMessageId = (topic: TopicName, offset: Offset): string =>
  `${topic}:${formatOffset(offset)}`;

export const parseMessageId = (input: string): E.Either<InvalidMessageId, MessageId> => {
  const colon = input.lastIndexOf(':');
  const topic = parseTopicName(input.slice(0, Math.max(colon, 0)));
  const offset = parseOffset(input.slice(colon + 1));
  return E.isRight(topic) && E.isRight(offset)
    ? E.right({ topic: topic.right, offset: offset.right })
    : E.left({ _tag: 'InvalidMessageId', input });
};
