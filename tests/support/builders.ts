/** Valid wholes: a test states only what matters to it. */
import { either as E } from 'fp-ts';
import type { RetentionSettings } from '../../application/ports/event-store.js';
import type { Cursor, Offset } from '../../domain/message/offset.js';
import { parseClientId, type Identity } from '../../domain/subscription/client-id.js';
import type {
  SubscriptionEvent,
  SubscriptionSettings,
} from '../../domain/subscription/subscription-events.js';
import type { MessagePublished } from '../../domain/topic/topic-events.js';
import { parseTopicName, type TopicName } from '../../domain/topic/topic-name.js';
import { parseTopicPattern, type TopicPattern } from '../../domain/topic/topic-pattern.js';
import { TEST_START } from './manual-clock.js';

/** What a parser accepts; an invalid text in a test is a mistake of the test. */
const valid = <A>(parsed: E.Either<unknown, A>): A => {
  if (E.isLeft(parsed)) throw new Error(`invalid in a test: ${JSON.stringify(parsed.left)}`);
  return parsed.right;
};

export const aTopic = (name = 'orders.created'): TopicName => valid(parseTopicName(name));

export const aPattern = (text = 'orders.>'): TopicPattern => valid(parseTopicPattern(text));

export const anIdentity = (overrides: { principal?: string; clientId?: string } = {}): Identity => ({
  principal: overrides.principal ?? 'jwt:alice',
  clientId: valid(parseClientId(overrides.clientId ?? 'phone')),
});

export const aMessage = (overrides: Partial<MessagePublished> = {}): MessagePublished => ({
  type: 'MessagePublished',
  payload: '{"order":1}',
  ...overrides,
});

/** `count` messages that can be told apart: their payloads are the numbers from `from` on. */
export const messages = (count: number, from = 1): readonly MessagePublished[] =>
  Array.from({ length: count }, (_, i) => aMessage({ payload: String(from + i) }));

/** The `n`th place of a stream that began at the start of test time. */
export const aCursor = (n = 1): Cursor => ({ offset: (TEST_START * 1024 + n) as Offset, n });

export const someSettings = (overrides: Partial<SubscriptionSettings> = {}): SubscriptionSettings => ({
  ackTimeoutMs: 30_000,
  maxInFlight: 100,
  maxDeliveries: 0,
  backoffMs: [],
  ...overrides,
});

/** Long enough that nothing is forgotten unless a test asks for it. */
export const someRetention = (overrides: Partial<RetentionSettings> = {}): RetentionSettings => ({
  messagesMs: 24 * 3_600_000,
  messagesPerTopicMax: 100_000,
  subscriptionMs: 24 * 3_600_000,
  ...overrides,
});

type Variants = {
  [Type in SubscriptionEvent['type']]: readonly Extract<SubscriptionEvent, { type: Type }>[];
};

/** Every event that a journal can hold, empty and full; a new kind of event does not compile until it is here. */
export const everySubscriptionEvent = (): readonly SubscriptionEvent[] => {
  const topic = aTopic();
  const [first, second, third] = [aCursor(1), aCursor(2), aCursor(3)];
  const settings = someSettings();
  const offsets = [first.offset, third.offset];
  const inFlight = [{ cursors: [second, third], attempt: 1, deadline: TEST_START + 30_000 }];
  const pending = [{ cursor: first, attempt: 2, notBefore: TEST_START }];
  const topics = [aPattern('orders.*.created'), aPattern('>'), aPattern('orders.created')];
  const dispatched = {
    type: 'MessagesDispatched',
    topic,
    next: third,
    attempt: 1,
    deadline: TEST_START,
  } as const;
  const committed = { type: 'PositionCommitted', topic, next: third } as const;
  const snapshotted = { type: 'SubscriptionSnapshotted', settings, topics } as const;
  const variants: Variants = {
    SubscriptionOpened: [
      { type: 'SubscriptionOpened', guarantee: 'at_least_once', settings },
      {
        type: 'SubscriptionOpened',
        guarantee: 'at_most_once',
        settings: someSettings({ maxDeliveries: 3, backoffMs: [1_000, 5_000] }),
      },
    ],
    TopicsAdded: [
      { type: 'TopicsAdded', topics, starts: [{ topic, at: first }] },
      { type: 'TopicsAdded', topics: [], starts: [] },
    ],
    TopicsRemoved: [{ type: 'TopicsRemoved', topics }],
    SessionStarted: [{ type: 'SessionStarted', session: 'Zm9v_-' }],
    MessagesDispatched: [
      { ...dispatched, cursors: [second, third] },
      { ...dispatched, cursors: [] },
    ],
    MessagesAcknowledged: [{ type: 'MessagesAcknowledged', topic, offsets }],
    MessagesRejected: [{ type: 'MessagesRejected', topic, offsets, notBefore: TEST_START }],
    DeadlineExtended: [{ type: 'DeadlineExtended', topic, offsets, deadline: TEST_START }],
    DeliveryExpired: [{ type: 'DeliveryExpired', topic, offsets, notBefore: TEST_START }],
    MessagesDeadLettered: [
      { type: 'MessagesDeadLettered', topic, offsets, reason: 'max_deliveries' },
      { type: 'MessagesDeadLettered', topic, offsets, reason: 'terminated' },
    ],
    TopicsForgotten: [{ type: 'TopicsForgotten', topics: [topic] }],
    MessagesSkipped: [{ type: 'MessagesSkipped', topic, next: third }],
    PositionCommitted: [
      { ...committed, pending },
      { ...committed, pending: [] },
    ],
    SubscriptionSnapshotted: [
      {
        ...snapshotted,
        guarantee: 'at_least_once',
        session: 'a',
        positions: [{ topic, next: third, inFlight, due: pending }],
      },
      { ...snapshotted, guarantee: 'at_most_once', session: undefined, positions: [] },
    ],
  };
  return Object.values(variants).flat();
};
