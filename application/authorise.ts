/** Who may do what: every action is checked here against the grants of its principal. */
import { either as E } from 'fp-ts';
import type { TopicName } from '../domain/topic/topic-name.js';
import { isTopicName, matches, type TopicPattern } from '../domain/topic/topic-pattern.js';
import type { Principal } from './ports/authenticator.js';
import type { Forbidden } from './refusals.js';

export const mayPublish = (principal: Principal, topic: TopicName): E.Either<Forbidden, TopicName> =>
  principal.grants.publish.some((pattern) => matches(pattern, topic))
    ? E.right(topic)
    : E.left({ _tag: 'Forbidden', action: 'publish', topic });

export const mayManage = (principal: Principal, topic: TopicName): E.Either<Forbidden, TopicName> =>
  principal.grants.manage.some((pattern) => matches(pattern, topic))
    ? E.right(topic)
    : E.left({ _tag: 'Forbidden', action: 'manage', topic });

export const mayReceive = (principal: Principal, topic: TopicName): boolean =>
  principal.grants.subscribe.some((pattern) => matches(pattern, topic));

/**
 * A topic must be granted by name. A pattern may be wider than the grants, since each topic that it comes to match is
 * checked by itself; somebody without any grant may not even ask.
 */
export const maySubscribe = (
  principal: Principal,
  topics: readonly TopicPattern[],
): E.Either<Forbidden, readonly TopicPattern[]> => {
  const refused = topics.find((topic) =>
    isTopicName(topic) ? !mayReceive(principal, topic) : principal.grants.subscribe.length === 0,
  );
  return refused === undefined
    ? E.right(topics)
    : E.left({ _tag: 'Forbidden', action: 'subscribe', topic: refused });
};
