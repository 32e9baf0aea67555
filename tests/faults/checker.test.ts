/** Who judges the judge: each rule is broken in a history that was in order, and exactly that rule has to say so. */
import { expect } from 'chai';
import { check, renderViolations, type Rule } from './checker.js';
import { aGoodHistory, type Draft, type DraftSubscription } from './good-history.js';
import { offsetOfId, topicOf, type Publish, type SubscriptionEvent } from './history.js';
import { Random } from '../support/random.js';

const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);

type Delivered = Extract<SubscriptionEvent, { type: 'Delivered' }>;

const deliveredIn = ({ events }: DraftSubscription): Delivered[] =>
  events.filter((event) => event.type === 'Delivered');

const take = <A>(items: readonly A[], what: string): A => {
  const item = items[Math.floor(items.length / 2)];
  if (item === undefined) throw new Error(`the history has no ${what}`);
  return item;
};

const named = (history: Draft, clientId: string): DraftSubscription =>
  take(
    history.subscriptions.filter((each) => each.clientId === clientId),
    clientId,
  );

const forget = (
  subscription: DraftSubscription,
  isForgotten: (event: SubscriptionEvent) => boolean,
): void => {
  subscription.events = subscription.events.filter((event) => !isForgotten(event));
};

const mentions = (event: SubscriptionEvent, id: string): boolean =>
  event.type === 'Delivered'
    ? event.messageId === id
    : 'messageIds' in event && event.messageIds.includes(id);

/** A message that was answered stored, and that `clientId` got once, on the connection that it had at the end. */
const calm = (history: Draft, clientId: string): Delivered => {
  const subscription = named(history, clientId);
  const all = deliveredIn(subscription);
  const last = subscription.connections.length - 1;
  const once = all.filter(
    ({ messageId, connection }) =>
      connection === last &&
      all.filter((each) => each.messageId === messageId).length === 1 &&
      history.publishes.some((publish) => publish.messageId === messageId),
  );
  return take(once, 'message that came once');
};

/** A message that was answered stored and is in its stream. */
const storedOne = (history: Draft): Publish =>
  take(
    history.publishes.filter(
      ({ keyed, messageId }) => keyed && history.stored.some((stored) => stored.messageId === messageId),
    ),
    'stored message',
  );

const insertAfter = (
  subscription: DraftSubscription,
  event: SubscriptionEvent,
  ...more: readonly SubscriptionEvent[]
): void => {
  subscription.events.splice(subscription.events.indexOf(event) + 1, 0, ...more);
};

const offsetText = (messageId: string): string => messageId.slice(messageId.lastIndexOf(':') + 1);

const before = (messageId: string): string => {
  const [ms, sequence] = offsetText(messageId).split('-').map(Number);
  return `${Number(ms) - 1}-${String(sequence)}`;
};

/** What is done to a history that is in order, and the rule that has to notice. */
const PLANTED: readonly (readonly [Rule, string, (history: Draft) => void])[] = [
  [
    'lost',
    'a stored message never comes',
    (history) => {
      const phone = named(history, 'phone');
      const { messageId } = calm(history, 'phone');
      forget(phone, (event) => mentions(event, messageId));
    },
  ],
  [
    'lost',
    'a message comes, is not acknowledged, and does not come again',
    (history) => {
      const phone = named(history, 'phone');
      const { messageId } = calm(history, 'phone');
      forget(phone, (event) => event.type !== 'Delivered' && mentions(event, messageId));
    },
  ],
  [
    'lost',
    'a loss of the storage is not told',
    (history) => forget(named(history, 'phone'), ({ type }) => type === 'GapTold'),
  ],
  [
    'lost',
    'a message that was answered stored is not in its stream',
    (history) => {
      const { messageId } = storedOne(history);
      history.stored = history.stored.filter((stored) => stored.messageId !== messageId);
    },
  ],
  [
    'lost',
    'a subscription is forgotten and begins anew',
    (history) => {
      const phone = named(history, 'phone');
      const [opened] = phone.events;
      if (opened === undefined) throw new Error('nothing happened');
      phone.events.push({
        ...opened,
        connection: phone.connections.length - 1,
        atMs: phone.events.at(-1)!.atMs,
      });
    },
  ],
  [
    'order',
    'two neighbours come in the wrong order',
    (history) => {
      const phone = named(history, 'phone');
      const late = calm(history, 'phone');
      const topic = topicOf(late.messageId);
      const next = deliveredIn(phone).find(
        ({ messageId, attempt }) =>
          attempt === 1 && topicOf(messageId) === topic && offsetOfId(messageId) > offsetOfId(late.messageId),
      );
      if (next === undefined) throw new Error('the history has no neighbour');
      const about = phone.events.filter((event) => mentions(event, late.messageId));
      phone.events = phone.events.filter((event) => !about.includes(event));
      insertAfter(phone, next, ...about.map((event) => ({ ...event, atMs: next.atMs })));
    },
  ],
  [
    'redelivered_after_ack',
    'a message comes again on the connection that confirmed its acknowledgement',
    (history) => {
      const phone = named(history, 'phone');
      const again = { ...calm(history, 'phone'), attempt: 2, atMs: phone.events.at(-1)!.atMs + 1 };
      phone.events.push(again);
    },
  ],
  [
    'redelivered_after_ack',
    'a message comes again on a connection that began after the confirmation',
    (history) => {
      const phone = named(history, 'phone');
      const endMs = phone.events.at(-1)!.atMs;
      const { messageId, payload } = calm(history, 'phone');
      const connection = phone.connections.push({ via: 'socket', at: 'B', beganMs: endMs + 1 }) - 1;
      phone.events.push({ type: 'Delivered', messageId, payload, attempt: 2, connection, atMs: endMs + 2 });
    },
  ],
  [
    'more_than_once',
    'at-most-once gets a message again',
    (history) => {
      const dashboard = named(history, 'dashboard');
      const event = calm(history, 'dashboard');
      dashboard.events.push({ ...event, attempt: 2, atMs: dashboard.events.at(-1)!.atMs + 1 });
    },
  ],
  [
    'phantom',
    'a payload comes that nobody published',
    (history) => {
      const dashboard = named(history, 'dashboard');
      const event = calm(history, 'dashboard');
      dashboard.events = dashboard.events.map((each) =>
        each === event ? { ...event, payload: `${event.payload} ` } : each,
      );
    },
  ],
  [
    'phantom',
    'a message is stored that was answered not_stored',
    (history) => {
      const refused = take(
        history.publishes.filter(({ outcome }) => outcome === 'not_stored'),
        'refused publish',
      );
      history.stored.push({ messageId: `${refused.topic}:9000000-0`, payload: refused.payload });
    },
  ],
  [
    'phantom',
    'a message comes that was answered not_stored',
    (history) => {
      const { messageId } = calm(history, 'dashboard');
      const index = history.publishes.findIndex((publish) => publish.messageId === messageId);
      const { topic, payload, keyed, startedMs, answeredMs } = history.publishes[index]!;
      history.publishes[index] = { topic, payload, keyed, startedMs, answeredMs, outcome: 'not_stored' };
      history.stored = history.stored.filter((stored) => stored.messageId !== messageId);
    },
  ],
  [
    'repeated_publish',
    'a message with an idempotency key is stored twice',
    (history) => {
      const { topic, payload } = storedOne(history);
      history.stored.push({ messageId: `${topic}:9000000-0`, payload });
    },
  ],
  [
    'repeated_publish',
    'a message of unknown outcome is stored twice',
    (history) => {
      const { topic, payload } = take(
        history.publishes.filter(({ outcome }) => outcome === 'unknown'),
        'publish of unknown outcome',
      );
      history.stored = history.stored.filter((stored) => stored.payload !== payload);
      for (const ms of [9_000_000, 9_000_001])
        history.stored.push({ messageId: `${topic}:${ms}-0`, payload });
    },
  ],
  [
    'false_gap',
    'a gap is told over a message that is in the stream',
    (history) => {
      const phone = named(history, 'phone');
      const event = calm(history, 'phone');
      const { messageId, connection } = event;
      const atMs = phone.events.at(-1)!.atMs + 1;
      phone.events.push({
        type: 'GapTold',
        topic: topicOf(messageId),
        from: before(messageId),
        to: offsetText(messageId),
        reason: 'stream_reset',
        connection,
        atMs,
      });
    },
  ],
  [
    'false_gap',
    'a message comes after a gap over it',
    (history) => {
      const dashboard = named(history, 'dashboard');
      const event = calm(history, 'dashboard');
      const { messageId, connection, atMs } = event;
      const place = dashboard.events.indexOf(event);
      dashboard.events.splice(place, 0, {
        type: 'GapTold',
        topic: topicOf(messageId),
        from: before(messageId),
        to: offsetText(messageId),
        reason: 'slow_consumer',
        connection,
        atMs,
      });
    },
  ],
  [
    'false_gap',
    'a loss is told while the storage has lost nothing',
    (history) => {
      const phone = named(history, 'phone');
      const atMs = Math.min(...history.forgotten.map(({ fromMs }) => fromMs)) - 1;
      const place = phone.events.findIndex((event) => event.atMs > atMs);
      const reason = 'storage_rollback';
      const gap = { type: 'GapTold', topic: 'orders', from: '1-0', to: '1-1', reason } as const;
      phone.events.splice(place, 0, { ...gap, connection: 0, atMs });
    },
  ],
  [
    'no_progress',
    'what is published after healing comes too late',
    (history) => {
      const phone = named(history, 'phone');
      const [probe] = history.probes;
      phone.events = phone.events.map((event) =>
        event.type === 'Delivered' && event.payload === probe!.payload
          ? { ...event, atMs: probe!.healedMs + probe!.withinMs + 1 }
          : event,
      );
    },
  ],
  [
    'attempt',
    'a poll answers a message as the attempt that it was already',
    (history) => {
      const poller = named(history, 'poller');
      const redelivered = take(
        deliveredIn(poller).filter(({ attempt }) => attempt === 2),
        'second attempt of a poll',
      );
      poller.events = poller.events.map((event) =>
        event === redelivered ? { ...redelivered, attempt: 1 } : event,
      );
    },
  ],
  [
    'attempt',
    'a connection counts an attempt twice',
    (history) => {
      const phone = named(history, 'phone');
      const redelivered = take(
        deliveredIn(phone).filter(({ attempt }) => attempt === 2),
        'second attempt',
      );
      insertAfter(phone, redelivered, redelivered);
    },
  ],
];

describe('the checker of fault runs', () => {
  it('finds nothing in histories that are in order', () => {
    for (const seed of SEEDS)
      expect(renderViolations(check(aGoodHistory(new Random(seed)))), `seed ${seed}`).to.equal('');
  });

  for (const [rule, what, plant] of PLANTED) {
    it(`tells ${rule}, and nothing else, where ${what}`, () => {
      for (const seed of SEEDS) {
        const history = aGoodHistory(new Random(seed));
        plant(history);
        const violations = check(history);
        expect(
          violations.map((violation) => violation.rule),
          `seed ${seed}\n${renderViolations(violations)}`,
        ).to.include(rule);
        expect([...new Set(violations.map((violation) => violation.rule))], `seed ${seed}`).to.deep.equal([
          rule,
        ]);
      }
    });
  }

  it('forgives what the storage may have forgotten, and only that', () => {
    for (const seed of SEEDS) {
      const history = aGoodHistory(new Random(seed));
      const phone = named(history, 'phone');
      const event = calm(history, 'phone');
      const confirmed = phone.events.find(
        (each) => each.type === 'AckConfirmed' && mentions(each, event.messageId),
      )!;
      phone.events.push({ ...event, attempt: 2, atMs: phone.events.at(-1)!.atMs + 1 });
      expect(check(history).map(({ rule }) => rule)).to.deep.equal(['redelivered_after_ack']);
      history.forgotten.push({ fromMs: confirmed.atMs, toMs: confirmed.atMs });
      expect(renderViolations(check(history))).to.equal('');
    }
  });

  it('forgives what an older connection had on its way when a newer one began', () => {
    for (const seed of SEEDS) {
      const history = aGoodHistory(new Random(seed));
      const dashboard = named(history, 'dashboard');
      const late = calm(history, 'dashboard');
      const older = dashboard.connections.push({ via: 'socket', at: 'B', beganMs: 1 }) - 1;
      const newer = dashboard.connections.push({ via: 'socket', at: 'A', beganMs: 2 }) - 1;
      const comesOn = (connection: number): void => {
        const others = dashboard.events.filter((event) => event !== late && event.type !== 'GapTold');
        const behind = { ...late, connection, atMs: dashboard.events.at(-1)!.atMs + 1 };
        dashboard.events = [...others.map((event) => ({ ...event, connection: newer })), behind];
      };
      const before = dashboard.events;
      comesOn(older);
      expect(renderViolations(check(history)), `seed ${seed}`).to.equal('');
      dashboard.events = before;
      comesOn(newer);
      expect(check(history).map(({ rule }) => rule)).to.deep.equal(['order']);
    }
  });

  it('shows what the history says about a message that it complains of', () => {
    const history = aGoodHistory(new Random(1));
    const phone = named(history, 'phone');
    const { messageId } = calm(history, 'phone');
    forget(phone, (event) => event.type !== 'Delivered' && mentions(event, messageId));
    expect(renderViolations(check(history)))
      .to.contain('lost: 1')
      .and.to.contain(`phone: ${messageId} came, was never acknowledged`)
      .and.to.contain('published, stored')
      .and.to.contain(`got ${messageId} as attempt 1`);
  });
});
