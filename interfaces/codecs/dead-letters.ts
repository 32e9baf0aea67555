/** Reading dead letters and sending them back, as HTTP asks for it. */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import type { Redrive } from '../../application/dead-letters.js';
import { NO_OFFSET, type Offset } from '../../domain/message/offset.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import { invalidRequest, type Problem } from '../problem.js';
import { decode } from './decode.js';
import { integerField, MessageIdsField, OffsetField, optional, TopicNameField } from './fields.js';
import { numberOf, textOf } from './query.js';

const DEAD_LETTERS_MAX = 1000;
const DEAD_LETTERS_DEFAULT = 100;

const TopicPath = t.type({ topic: TopicNameField });
const PageQuery = t.type({
  from: optional(OffsetField),
  limit: optional(integerField(1, DEAD_LETTERS_MAX)),
});
const RedriveBody = t.type({
  message_ids: optional(MessageIdsField),
  limit: optional(integerField(1, DEAD_LETTERS_MAX)),
});

export interface DeadLetterQuery {
  readonly topic: TopicName;
  /** The page begins right behind it. */
  readonly after: Offset;
  readonly limit: number;
}

/** The topic is the one that the messages were published to, not its dead-letter topic. */
export const decodeTopicPath = (topic: string | undefined): E.Either<Problem, TopicName> =>
  F.pipe(
    decode(TopicPath, { topic }),
    E.map((path) => path.topic),
  );

/** `?from=&limit=100` */
export const decodeDeadLetterQuery = (
  topic: string | undefined,
  query: URLSearchParams,
): E.Either<Problem, DeadLetterQuery> =>
  F.pipe(
    E.Do,
    E.apS('topic', decodeTopicPath(topic)),
    E.bind('page', () => decode(PageQuery, { from: textOf(query, 'from'), limit: numberOf(query, 'limit') })),
    E.map(({ topic, page: { from, limit } }) => ({
      topic,
      after: from ?? NO_OFFSET,
      limit: limit ?? DEAD_LETTERS_DEFAULT,
    })),
  );

/** Either these, or so many of the oldest: neither must mean all of them by accident. */
export const decodeRedrive = (body: unknown): E.Either<Problem, Redrive> =>
  F.pipe(
    decode(RedriveBody, body),
    E.flatMap(({ message_ids, limit }): E.Either<Problem, Redrive> => {
      if (message_ids === undefined) {
        return limit === undefined
          ? E.left(invalidRequest('message_ids', 'is required, or limit in its place'))
          : E.right({ oldest: limit });
      }
      return limit === undefined
        ? E.right({ ids: message_ids })
        : E.left(invalidRequest('limit', 'must not be given together with message_ids'));
    }),
  );
