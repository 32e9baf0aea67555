/**
 * A message as a client receives it, in a frame or in the answer of a poll. HOT PATH, once per message and instance:
 * text is put together around the producer's own payload; nothing is parsed or stringified that need not be.
 */
import { formatMessageId } from '../../domain/message/message-id.js';
import { instantOf, type Recorded } from '../../domain/message/offset.js';
import type { MessagePublished } from '../../domain/topic/topic-events.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import { isoTime } from './iso-time.js';

/** The members of the JSON object, without its braces. `attempt` 0 leaves the attempt out. */
export const messageMembers = (
  topic: TopicName,
  message: Recorded<MessagePublished>,
  attempt: number,
): string => {
  const { payload, key, priority, headers } = message.event;
  let text = `"message_id":"${formatMessageId(topic, message.offset)}","topic":"${topic}","payload":${payload}`;
  text += `,"timestamp":"${isoTime(instantOf(message.offset))}"`;
  if (attempt > 0) text += `,"attempt":${attempt}`;
  if (key !== undefined) text += `,"key":${JSON.stringify(key)}`;
  if (priority !== undefined) text += `,"priority":${priority}`;
  if (headers !== undefined) text += `,"headers":${JSON.stringify(headers)}`;
  return text;
};
