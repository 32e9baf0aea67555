/** Message ids sorted by their topics, since a position is in a topic, and by what that position knows of them. */
import type { MessageId } from '../domain/message/message-id.js';
import type { Offset } from '../domain/message/offset.js';
import { settlementOf, type TopicPosition } from '../domain/subscription/topic-position.js';
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

/** What was done with ids, before the journal and the store were asked. */
export interface Taken {
  /** How many were waited for. */
  readonly count: number;
  readonly settledBefore: readonly MessageId[];
  readonly unknown: readonly MessageId[];
}

const NO_IDS: readonly MessageId[] = [];
export const NOTHING_TAKEN: Taken = { count: 0, settledBefore: NO_IDS, unknown: NO_IDS };

/**
 * Calls `onKnown` with those of the ids that are waited for, topic by topic, and sorts out the others. `find` answers
 * whatever stands for a topic to the caller, and has its position.
 */
export const eachKnown = <Found extends { readonly position: TopicPosition }>(
  ids: readonly MessageId[],
  find: (topic: TopicName) => Found | undefined,
  onKnown: (found: Found, offsets: readonly Offset[]) => void,
): Taken => {
  let count = 0;
  let settledBefore = NO_IDS;
  let unknown = NO_IDS;
  for (const { topic, offsets, ids: idsOfTopic } of byTopic(ids)) {
    const found = find(topic);
    if (found === undefined) {
      unknown = [...unknown, ...idsOfTopic];
      continue;
    }
    const settlement = settlementOf(found.position, offsets);
    if (settlement.known.length > 0) {
      count += settlement.known.length;
      onKnown(found, settlement.known);
    }
    if (settlement.settled.length > 0) {
      settledBefore = [...settledBefore, ...among(idsOfTopic, settlement.settled)];
    }
    if (settlement.unknown.length > 0) unknown = [...unknown, ...among(idsOfTopic, settlement.unknown)];
  }
  return { count, settledBefore, unknown };
};

const among = (ids: readonly MessageId[], offsets: readonly Offset[]): readonly MessageId[] => {
  const wanted = new Set(offsets);
  return ids.filter(({ offset }) => wanted.has(offset));
};
