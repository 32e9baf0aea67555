/** What the server sends besides messages: answers to frames, gaps and errors. One JSON object per text frame. */
import type { Gap } from '../../application/ports/client-connection.js';
import type { Receipt } from '../../application/publish-messages.js';
import type { Settled, Settling } from '../../application/settling.js';
import type { ClientId } from '../../domain/subscription/client-id.js';
import { formatMessageId } from '../../domain/message/message-id.js';
import type { TopicPattern } from '../../domain/topic/topic-pattern.js';
import { CODES, type Problem } from '../problem.js';
import type { FrameId } from './client-frame.js';
import { gapMembers } from './gap.js';
import { isoTime } from './iso-time.js';
import { replyTypeOf, settledMembers } from './settling.js';

export const subscribedFrame = (
  id: FrameId,
  clientId: ClientId,
  topics: readonly TopicPattern[],
  recovered: readonly TopicPattern[],
): string =>
  JSON.stringify({
    type: 'subscribed',
    id,
    client_id: clientId,
    topics: topics.map((topic) => ({ topic, recovered: recovered.includes(topic) })),
  });

export const unsubscribedFrame = (id: FrameId, topics: readonly TopicPattern[]): string =>
  JSON.stringify({ type: 'unsubscribed', id, topics });

export const settledFrame = (id: FrameId, settling: Settling, settled: Settled): string =>
  JSON.stringify({ type: replyTypeOf(settling), id, ...settledMembers(settling, settled) });

/** HOT PATH, once per `publish` frame: names and ids of messages have no character that JSON would escape. */
export const publishedFrame = (id: FrameId, { topic, offset, publishedAt, isDuplicate }: Receipt): string =>
  `{"type":"published",${idMember(id)}"message_id":"${formatMessageId(topic, offset)}","topic":"${topic}",` +
  `"timestamp":"${isoTime(publishedAt)}"${isDuplicate ? ',"duplicate":true' : ''}}`;

const idMember = (id: FrameId): string => (id === undefined ? '' : `"id":${JSON.stringify(id)},`);

export const authenticatedFrame = (id: FrameId): string => JSON.stringify({ type: 'authenticated', id });

export const pongFrame = (id: FrameId): string => JSON.stringify({ type: 'pong', id });

export const gapFrame = (gap: Gap): string => `{"type":"gap",${gapMembers(gap)}}`;

export const errorFrame = (id: FrameId, { code, detail, field, outcome }: Problem): string =>
  JSON.stringify({
    type: 'error',
    id,
    code,
    message: detail,
    temporary: CODES[code].temporary,
    field,
    outcome,
  });
