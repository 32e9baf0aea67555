/**
 * Events as they lie on disk. A message is its payload text, untouched, and `meta`, a JSON object of whatever else the
 * producer gave (absent where there is nothing else). A loss is its reason, and between which places it is where that
 * has to be said. Every other event is one JSON text.
 * Fields are only ever added; what an older version wrote decodes for ever.
 */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import type { StoredEvent, Stream } from '../../application/ports/event-store.js';
import { parseTopicName, type TopicName } from '../../domain/topic/topic-name.js';
import { parseTopicPattern, type TopicPattern } from '../../domain/topic/topic-pattern.js';
import type { MessagesDispatched } from '../../domain/subscription/subscription-events.js';
import type { MessagePublished, MessagesLost } from '../../domain/topic/topic-events.js';
import type { Offset } from '../../domain/message/offset.js';

/** The two texts that a stream entry consists of; `meta` is empty where there is none, and begins with LOST for a loss. */
export interface StoredTexts {
  readonly body: string;
  readonly meta: string;
}

/** The field of a topic's entry that holds why messages were lost; in front of `meta`, it says that `body` is that. */
export const LOST = 'lost';

/** The field of a stream entry that holds `body`, except for a loss. */
export const bodyField = (stream: Stream): 'payload' | 'event' =>
  stream.kind === 'topic' ? 'payload' : 'event';

export const encodeEvent = (event: StoredEvent): StoredTexts => {
  if (event.type === 'MessagesLost') {
    const { reason, between } = event;
    return { body: reason, meta: between === undefined ? LOST : LOST + JSON.stringify(between) };
  }
  if (event.type === 'MessagesDispatched') return { body: dispatchedText(event), meta: '' };
  if (event.type !== 'MessagePublished') return { body: JSON.stringify(event), meta: '' };
  const { payload, expiresAt, key, priority, headers } = event;
  const isPlain =
    expiresAt === undefined && key === undefined && priority === undefined && headers === undefined;
  return { body: payload, meta: isPlain ? '' : JSON.stringify({ expiresAt, key, priority, headers }) };
};

let lastDispatched: MessagesDispatched | undefined;
let lastDispatchedText = '';

/** The text of the last one serves as well: a thousand polls that are woken up by one message record the same. */
const dispatchedText = (event: MessagesDispatched): string => {
  if (lastDispatched === undefined || !areAlike(lastDispatched, event)) {
    lastDispatchedText = JSON.stringify(event);
    lastDispatched = event;
  }
  return lastDispatchedText;
};

/** Those that were given the same batch share its places. */
const areAlike = (a: MessagesDispatched, b: MessagesDispatched): boolean =>
  a.cursors === b.cursors &&
  a.topic === b.topic &&
  a.next.offset === b.next.offset &&
  a.next.n === b.next.n &&
  a.attempt === b.attempt &&
  a.deadline === b.deadline;

/** Undefined for what we cannot have written: somebody else put it into our stream. */
export const decodeEvent = (stream: Stream, { body, meta }: StoredTexts): StoredEvent | undefined => {
  switch (stream.kind) {
    case 'topic':
      return meta.startsWith(LOST) ? decodeLoss(body, meta.slice(LOST.length)) : decodeMessage(body, meta);
    case 'subscription':
      return decodeJson(SubscriptionEventCodec, body);
    case 'catalogue':
      return decodeJson(CatalogueEventCodec, body);
  }
};

/** The texts of an entry, from its fields; undefined where it has none of ours. */
export const textsOf = (
  stream: Stream,
  field: (name: string) => string | undefined,
): StoredTexts | undefined => {
  const meta = field('meta') ?? '';
  const reason = field(LOST);
  if (reason !== undefined) return { body: reason, meta: LOST + meta };
  const body = field(bodyField(stream));
  return body === undefined ? undefined : { body, meta };
};

const decodeLoss = (reason: string, place: string): MessagesLost | undefined => {
  if (!LossReason.is(reason)) return undefined;
  if (place === '') return { type: 'MessagesLost', reason };
  const between = decodeJson(BetweenCodec, place);
  return between === undefined ? undefined : { type: 'MessagesLost', reason, between };
};

const decodeMessage = (payload: string, meta: string): MessagePublished | undefined => {
  if (meta === '') return { type: 'MessagePublished', payload };
  const decoded = decodeJson(MetaCodec, meta);
  return decoded === undefined ? undefined : { type: 'MessagePublished', payload, ...decoded };
};

const decodeJson = <A>(codec: t.Decoder<unknown, A>, text: string): A | undefined =>
  F.pipe(
    E.tryCatch(
      () => JSON.parse(text) as unknown,
      () => undefined,
    ),
    E.flatMap(codec.decode),
    E.getOrElseW(() => undefined),
  );

const isOffset = (value: unknown): value is Offset =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const OffsetCodec = new t.Type<Offset>(
  'Offset',
  isOffset,
  (u, c) => (isOffset(u) ? t.success(u) : t.failure(u, c)),
  t.identity,
);

const fromParser = <A extends string>(
  name: string,
  parse: (input: string) => E.Either<unknown, A>,
): t.Type<A, string> =>
  new t.Type<A, string>(
    name,
    (u): u is A => typeof u === 'string' && E.isRight(parse(u)),
    (u, c) => {
      const parsed = typeof u === 'string' ? parse(u) : E.left(undefined);
      return E.isRight(parsed) ? t.success(parsed.right) : t.failure(u, c);
    },
    t.identity,
  );

/** A field that older versions did not write. */
const absentAs = <A>(codec: t.Type<A, unknown>, value: A): t.Type<A, unknown> =>
  new t.Type<A, unknown>(
    codec.name,
    codec.is,
    (u, context) => (u === undefined ? t.success(value) : codec.validate(u, context)),
    t.identity,
  );

const TopicNameCodec = fromParser<TopicName>('TopicName', parseTopicName);
const TopicPatternCodec = fromParser<TopicPattern>('TopicPattern', parseTopicPattern);

const MetaCodec = t.exact(
  t.partial({
    expiresAt: t.number,
    key: t.string,
    priority: t.number,
    headers: t.record(t.string, t.string),
  }),
);

const LossReason = t.keyof({ storage_rollback: null, stream_reset: null });

const CatalogueEventCodec = t.strict({ type: t.literal('TopicCreated'), topic: TopicNameCodec });

const Cursor = t.strict({ offset: OffsetCodec, n: t.number });
const BetweenCodec = t.strict({ from: Cursor, to: Cursor });
const Pending = t.strict({ cursor: Cursor, attempt: t.number, notBefore: t.number });
const Guarantee = t.keyof({ at_least_once: null, at_most_once: null });
const Settings = t.strict({
  ackTimeoutMs: t.number,
  maxInFlight: t.number,
  maxDeliveries: t.number,
  backoffMs: absentAs<readonly number[]>(t.readonlyArray(t.number), []),
});
const Offsets = t.readonlyArray(OffsetCodec);

const SubscriptionEventCodec = t.union([
  t.strict({ type: t.literal('SubscriptionOpened'), guarantee: Guarantee, settings: Settings }),
  t.strict({
    type: t.literal('TopicsAdded'),
    topics: t.readonlyArray(TopicPatternCodec),
    starts: t.readonlyArray(t.strict({ topic: TopicNameCodec, at: Cursor })),
  }),
  t.strict({ type: t.literal('TopicsRemoved'), topics: t.readonlyArray(TopicPatternCodec) }),
  t.strict({ type: t.literal('SessionStarted'), session: t.string }),
  t.strict({
    type: t.literal('MessagesDispatched'),
    topic: TopicNameCodec,
    next: Cursor,
    cursors: t.readonlyArray(Cursor),
    attempt: t.number,
    deadline: t.number,
  }),
  t.strict({ type: t.literal('MessagesAcknowledged'), topic: TopicNameCodec, offsets: Offsets }),
  t.strict({
    type: t.literal('MessagesRejected'),
    topic: TopicNameCodec,
    offsets: Offsets,
    notBefore: t.number,
  }),
  t.strict({
    type: t.literal('DeadlineExtended'),
    topic: TopicNameCodec,
    offsets: Offsets,
    deadline: t.number,
  }),
  t.strict({
    type: t.literal('DeliveryExpired'),
    topic: TopicNameCodec,
    offsets: Offsets,
    notBefore: absentAs(t.number, 0),
  }),
  t.strict({
    type: t.literal('MessagesDeadLettered'),
    topic: TopicNameCodec,
    offsets: Offsets,
    reason: t.keyof({ max_deliveries: null, terminated: null }),
  }),
  t.strict({ type: t.literal('TopicsForgotten'), topics: t.readonlyArray(TopicNameCodec) }),
  t.strict({ type: t.literal('MessagesSkipped'), topic: TopicNameCodec, next: Cursor }),
  t.strict({
    type: t.literal('PositionCommitted'),
    topic: TopicNameCodec,
    next: Cursor,
    pending: t.readonlyArray(Pending),
  }),
  t.strict({
    type: t.literal('SubscriptionSnapshotted'),
    guarantee: Guarantee,
    settings: Settings,
    session: t.union([t.string, t.undefined]),
    topics: t.readonlyArray(TopicPatternCodec),
    positions: t.readonlyArray(
      t.strict({
        topic: TopicNameCodec,
        next: Cursor,
        inFlight: t.readonlyArray(
          t.strict({ cursors: t.readonlyArray(Cursor), attempt: t.number, deadline: t.number }),
        ),
        due: t.readonlyArray(Pending),
      }),
    ),
  }),
]);
