/** Message ids sorted by their topics, since a position is in a topic. */
import type { MessageId } from '../domain/message/message-id.js';
import type { Offset } from '../domain/message/offset.js';
import type { TopicName } from '../domain/topic/topic-name.js';

interface IdsOfTopic {
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly ids: readonly MessageId[];
}

/** One id at a time is the usual case and needs no map. */
export const byTopic = (ids: readonly MessageId[]): readonly IdsOfTopic[] => {
  const only = ids[0];
  if (only !== undefined && ids.length === 1) return [{ topic: only.topic, offsets: [only.offset], ids }];
  const topics = new Map<TopicName, MessageId[]>();
  for (const id of ids) {
    const known = topics.get(id.topic);
    if (known === undefined) topics.set(id.topic, [id]);
    else known.push(id);
  }
  return [...topics].map(([topic, idsOfTopic]) => ({
    topic,
    offsets: [...new Set(idsOfTopic.map(({ offset }) => offset))],
    ids: idsOfTopic,
  }));
};
