/**
 * The store's view of message ids that a subscription does not wait for: was the message there, is it still? Asked only
 * for what is not the usual case, so it may cost a read for each.
 */
import { either as E, type taskEither as TE } from 'fp-ts';
import type { MessageId } from '../domain/message/message-id.js';
import type { Offset, Recorded } from '../domain/message/offset.js';
import { isMessage, type MessagePublished, type TopicEvent } from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { topicStream, type EventStore, type StoreUnavailable } from './ports/event-store.js';
import type { Settled } from './settling.js';

export const NOTHING_SETTLED: Settled = { count: 0, alreadySettled: [], trimmed: [], unknown: [] };

/**
 * Tells apart ids that lie behind a subscription's position and are not waited for. Where the store cannot be asked,
 * they count as settled where they can be: they will not be delivered again, which is what the caller wants to know.
 */
export const whatBecameOf =
  (store: EventStore, ids: readonly MessageId[]) =>
  async (): Promise<Pick<Settled, 'alreadySettled' | 'trimmed' | 'unknown'>> => {
    const alreadySettled: MessageId[] = [];
    const trimmed: MessageId[] = [];
    const unknown: MessageId[] = [];
    for (const id of ids) {
      const event = await eventAt(store, id.topic, id.offset)();
      if (E.isLeft(event) || event.right?.event.type === 'MessagePublished') alreadySettled.push(id);
      else if (event.right !== undefined || (await isBeforeFirst(store, id))) trimmed.push(id);
      else unknown.push(id);
    }
    return { alreadySettled, trimmed, unknown };
  };

/** The messages at these offsets, as far as the topic still keeps them. */
export const readMessages =
  (
    store: EventStore,
    topic: TopicName,
    offsets: readonly Offset[],
  ): TE.TaskEither<StoreUnavailable, readonly Recorded<MessagePublished>[]> =>
  async () => {
    const messages: Recorded<MessagePublished>[] = [];
    for (const offset of offsets) {
      const read = await eventAt(store, topic, offset)();
      if (E.isLeft(read)) return read;
      if (read.right !== undefined && isMessage(read.right)) messages.push(read.right);
    }
    return E.right(messages);
  };

/** Without what else a topic's stream holds. */
export const onlyMessages = (
  recorded: readonly Recorded<TopicEvent>[],
): readonly Recorded<MessagePublished>[] => recorded.filter(isMessage);

const eventAt =
  (
    store: EventStore,
    topic: TopicName,
    offset: Offset,
  ): TE.TaskEither<StoreUnavailable, Recorded<TopicEvent> | undefined> =>
  async () => {
    const read = await store.read(topicStream(topic), (offset - 1) as Offset, 1)();
    return E.isLeft(read) ? read : E.right(read.right.find((recorded) => recorded.offset === offset));
  };

const isBeforeFirst = async (store: EventStore, { topic, offset }: MessageId): Promise<boolean> => {
  const bounds = await store.bounds(topicStream(topic))();
  return E.isRight(bounds) && offset <= bounds.right.first.offset;
};
