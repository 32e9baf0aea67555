/**
 * A message as a producer sends it, in an HTTP body or a `publish` frame. Everything is decoded but the payload, of
 * which only the place in the text is found.
 * HOT PATH, budget 0.7 µs for a message of 200 bytes (npm run bench:profile -- --scenario ingest).
 */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import type { Durability } from '../../application/ports/event-store.js';
import type { AddressedPublication } from '../../application/publish-messages.js';
import { parseTopicName, type TopicName } from '../../domain/topic/topic-name.js';
import { invalidRequest, type Problem } from '../problem.js';
import { decode } from './decode.js';
import { TopicNameField } from './fields.js';
import { IdempotencyKeyField } from './idempotency-key.js';
import { elementSpans, memberSpan, type Span } from './json-text.js';

export const BULK_MESSAGES_MAX = 1000;

const isDurability = (u: unknown): u is Durability => u === 'stored' || u === 'fsync';

const DurabilityField = new t.Type<Durability>(
  'Durability',
  isDurability,
  (u, context) => (isDurability(u) ? t.success(u) : t.failure(u, context, 'must be "stored" or "fsync"')),
  t.identity,
);

const PublicationBody = t.intersection([
  t.type({ topic: TopicNameField }),
  t.partial({
    ttl: t.number,
    key: t.string,
    priority: t.number,
    headers: t.record(t.string, t.string),
    durability: DurabilityField,
    idempotency_key: IdempotencyKeyField,
  }),
]);

/** `body` is what JSON.parse made of the text at `span`. */
export const decodePublication = (
  body: unknown,
  text: string,
  span: Span = { start: 0, end: text.length },
): E.Either<Problem, AddressedPublication> => {
  const plainTopic = topicOfPlain(body);
  if (plainTopic !== undefined) {
    const payload = payloadAt(text, span);
    return E.isLeft(payload)
      ? payload
      : E.right({ topic: plainTopic, publication: { payload: payload.right } });
  }
  const decoded = decode(PublicationBody, body);
  if (E.isLeft(decoded)) return decoded;
  const payload = payloadAt(text, span);
  if (E.isLeft(payload)) return payload;
  const { topic, ttl, key, priority, headers, durability, idempotency_key } = decoded.right;
  return E.right({
    topic,
    publication: {
      payload: payload.right,
      ...(ttl === undefined ? {} : { ttlSeconds: ttl }),
      ...(key === undefined ? {} : { key }),
      ...(priority === undefined ? {} : { priority }),
      ...(headers === undefined ? {} : { headers }),
    },
    ...(durability === undefined ? {} : { durability }),
    ...(idempotency_key === undefined ? {} : { idempotencyKey: idempotency_key }),
  });
};

const payloadAt = (text: string, { start }: Span): E.Either<Problem, string> => {
  const payload = memberSpan(text, 'payload', start);
  return payload === undefined
    ? E.left(invalidRequest('payload', 'is required'))
    : E.right(text.slice(payload.start, payload.end));
};

/**
 * The topic of a message that has nothing else but a payload, as most do, or comes in a frame with nothing else of its
 * own. The codec would answer the same, and take longer than everything else here
 * (tests/interfaces/codecs/publication.test.ts). Undefined: ask the codec.
 */
const topicOfPlain = (body: unknown): TopicName | undefined => {
  if (typeof body !== 'object' || body === null) return undefined;
  for (const name in body)
    if (name !== 'topic' && name !== 'payload' && name !== 'type' && name !== 'id') return undefined;
  const { topic } = body as { readonly topic?: unknown };
  const parsed = typeof topic === 'string' ? parseTopicName(topic) : undefined;
  return parsed !== undefined && E.isRight(parsed) ? parsed.right : undefined;
};

const BulkBody = t.type({ messages: t.UnknownArray });

/** Each message by itself: one that is wrong does not stand in the way of the others. */
export const decodeBulk = (
  body: unknown,
  text: string,
): E.Either<Problem, readonly E.Either<Problem, AddressedPublication>[]> =>
  F.pipe(
    decode(BulkBody, body),
    E.filterOrElse(
      ({ messages }) => messages.length >= 1 && messages.length <= BULK_MESSAGES_MAX,
      () => invalidRequest('messages', `must have 1 to ${BULK_MESSAGES_MAX} elements`),
    ),
    E.map(({ messages }) => {
      const spans = elementSpans(text, memberSpan(text, 'messages')?.start ?? 0);
      return messages.map((message, i) =>
        F.pipe(
          decodePublication(message, text, spans[i]),
          E.mapLeft((problem) => inside(`messages[${i}]`, problem)),
        ),
      );
    }),
  );

/** The same problem, its field seen from further outside. */
export const inside = (outer: string, problem: Problem): Problem => {
  if (problem.field === undefined) return problem;
  const field = problem.field === 'body' ? outer : `${outer}.${problem.field}`;
  return { ...problem, field, detail: problem.detail.replace(problem.field, field) };
};
