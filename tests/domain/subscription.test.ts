import { expect } from 'chai';
import { replay } from '../../domain/decider.js';
import type { SubscriptionEvent } from '../../domain/subscription/subscription-events.js';
import {
  credit,
  isExhausted,
  namedTopics,
  POLLS,
  selects,
  subscription,
  toSnapshot,
  type DispatchMessages,
  type OpenSubscription,
  type RejectMessages,
  type Subscription,
  type SubscriptionCommand,
} from '../../domain/subscription/subscription.js';
import { aCursor, aPattern, aTopic, everySubscriptionEvent, someSettings } from '../support/builders.js';
import { given as givenDecider } from '../support/decider-spec.js';
import { TEST_START } from '../support/manual-clock.js';

const orders = aTopic('orders');
const users = aTopic('users');
const settings = someSettings({ ackTimeoutMs: 1_000, maxInFlight: 3 });
const now = TEST_START;
const deadline = now + 1_000;
/** The middle: neither more nor less than the backoff. */
const jitter = 0.5;
const [m1, m2, m3, m4] = [aCursor(1), aCursor(2), aCursor(3), aCursor(4)];

// Events

const opened = (guarantee: 'at_least_once' | 'at_most_once' = 'at_least_once'): SubscriptionEvent => ({
  type: 'SubscriptionOpened',
  guarantee,
  settings,
});
const added = (topics: readonly string[], starts: readonly string[] = topics): SubscriptionEvent => ({
  type: 'TopicsAdded',
  topics: topics.map(aPattern),
  starts: starts.map((topic) => ({ topic: aTopic(topic), at: aCursor(0) })),
});
const started = (session: string): SubscriptionEvent => ({ type: 'SessionStarted', session });
const removed = (...topics: readonly string[]): SubscriptionEvent => ({
  type: 'TopicsRemoved',
  topics: topics.map(aPattern),
});
const dispatchedAs = (attempt: number, ...cursors: readonly (typeof m1)[]): SubscriptionEvent => ({
  type: 'MessagesDispatched',
  topic: orders,
  next: cursors[cursors.length - 1]!,
  cursors,
  attempt,
  deadline,
});
const dispatched = (...cursors: readonly (typeof m1)[]) => dispatchedAs(1, ...cursors);
const acknowledged = (...cursors: readonly (typeof m1)[]): SubscriptionEvent => ({
  type: 'MessagesAcknowledged',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
});
const expiredUntil = (notBefore: number, ...cursors: readonly (typeof m1)[]): SubscriptionEvent => ({
  type: 'DeliveryExpired',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
  notBefore,
});
const expired = (...cursors: readonly (typeof m1)[]) => expiredUntil(deadline, ...cursors);
const rejected = (notBefore: number, ...cursors: readonly (typeof m1)[]): SubscriptionEvent => ({
  type: 'MessagesRejected',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
  notBefore,
});
const extendedTo = (until: number, ...cursors: readonly (typeof m1)[]): SubscriptionEvent => ({
  type: 'DeadlineExtended',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
  deadline: until,
});
const deadLettered = (...cursors: readonly (typeof m1)[]): SubscriptionEvent => ({
  type: 'MessagesDeadLettered',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
  reason: 'max_deliveries',
});

// Commands

const open = (rest: Partial<OpenSubscription> = {}): SubscriptionCommand => ({
  type: 'Open',
  settings,
  topics: [aPattern('orders')],
  starts: [{ topic: orders, at: aCursor(0) }],
  gone: { type: 'Forget', topics: [], before: now },
  topicsMax: 3,
  session: 's1',
  ...rest,
});
const dispatch = (
  cursors: readonly (typeof m1)[],
  rest: Partial<DispatchMessages> = {},
): SubscriptionCommand => ({
  type: 'Dispatch',
  topic: orders,
  next: cursors[cursors.length - 1] ?? m1,
  cursors,
  attempt: 1,
  now,
  ...rest,
});
const acknowledge = (...cursors: readonly (typeof m1)[]): SubscriptionCommand => ({
  type: 'Acknowledge',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
});
const reject = (
  cursors: readonly (typeof m1)[],
  rest: Partial<RejectMessages> = {},
): SubscriptionCommand => ({
  type: 'Reject',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
  delayMs: undefined,
  now,
  jitter,
  ...rest,
});
const extend = (at: number, ...cursors: readonly (typeof m1)[]): SubscriptionCommand => ({
  type: 'Extend',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
  now: at,
});
const expire = (at: number, rest: { readonly jitter?: number } = {}): SubscriptionCommand => ({
  type: 'Expire',
  now: at,
  jitter,
  ...rest,
});
const deadLetter = (...cursors: readonly (typeof m1)[]): SubscriptionCommand => ({
  type: 'DeadLetter',
  topic: orders,
  offsets: cursors.map(({ offset }) => offset),
  reason: 'max_deliveries',
});

const given = (...events: readonly SubscriptionEvent[]) => givenDecider(subscription, events);
const stateAfter = (...events: readonly SubscriptionEvent[]): Subscription =>
  replay(subscription, subscription.initialState, events);

const OPENED = [opened(), added(['orders']), started('s1')];
const AT_MOST_ONCE = [opened('at_most_once'), added(['orders']), started('s1')];
const BACKING_OFF: readonly SubscriptionEvent[] = [
  ...OPENED,
  {
    type: 'SubscriptionOpened',
    guarantee: 'at_least_once',
    settings: { ...settings, backoffMs: [100, 2_000] },
  },
];

describe('A subscription', () => {
  describe('that is opened', () => {
    it('begins with its settings, its topics and who holds it', () => {
      given()
        .when(open())
        .then(...OPENED);
    });

    it('promises at-least-once unless asked otherwise', () => {
      given()
        .when(open({ guarantee: 'at_most_once' }))
        .then(...AT_MOST_ONCE);
    });

    it('is as it was when opened again by whoever holds it', () => {
      given(...OPENED)
        .when(open())
        .thenNothing();
    });

    it('adds what is new, and leaves where it stands what it has', () => {
      given(...OPENED, dispatched(m1))
        .when(
          open({
            topics: [aPattern('orders'), aPattern('users')],
            starts: [
              { topic: orders, at: m4 },
              { topic: users, at: m2 },
            ],
          }),
        )
        .then({ type: 'TopicsAdded', topics: [aPattern('users')], starts: [{ topic: users, at: m2 }] });
    });

    it('adds a topic once, however often it is named', () => {
      given(...OPENED)
        .when(open({ topics: ['users', 'users', 'orders'].map(aPattern), starts: [] }))
        .then(added(['users'], []));
    });

    it('adds a topic that a pattern has come to match, though no pattern is new', () => {
      given(opened(), added(['>'], []), started('s1'))
        .when(open({ topics: [aPattern('>')] }))
        .then({ type: 'TopicsAdded', topics: [], starts: [{ topic: orders, at: aCursor(0) }] });
    });

    it('is taken over by another session', () => {
      given(...OPENED)
        .when(open({ session: 's2' }))
        .then(started('s2'));
    });

    it('is held by all polls together', () => {
      given(...OPENED)
        .when(open({ session: POLLS }))
        .then(started(POLLS));
      given(...OPENED, started(POLLS))
        .when(open({ session: POLLS }))
        .thenNothing();
    });

    it('takes new settings', () => {
      const changes = [
        { ackTimeoutMs: 9 },
        { maxInFlight: 9 },
        { maxDeliveries: 9 },
        { backoffMs: [9] },
        { backoffMs: [9, 9] },
      ];
      for (const changed of changes) {
        given(...OPENED)
          .when(open({ settings: { ...settings, ...changed } }))
          .then({
            type: 'SubscriptionOpened',
            guarantee: 'at_least_once',
            settings: { ...settings, ...changed },
          });
      }
    });

    it('takes a backoff that differs in one delay, and knows its own again', () => {
      const other = { ...settings, backoffMs: [100, 2_001] };
      given(...BACKING_OFF)
        .when(open({ settings: other }))
        .then({ type: 'SubscriptionOpened', guarantee: 'at_least_once', settings: other });
      given(...BACKING_OFF)
        .when(open({ settings: { ...settings, backoffMs: [100, 2_000] } }))
        .thenNothing();
    });

    it('keeps its guarantee', () => {
      given(...AT_MOST_ONCE)
        .when(open())
        .thenNothing();
      given(...AT_MOST_ONCE)
        .when(open({ guarantee: 'at_least_once' }))
        .thenRefused('GuaranteeMismatch', { guarantee: 'at_most_once' });
      given(...OPENED)
        .when(open({ guarantee: 'at_most_once', session: 's2' }))
        .thenRefused('GuaranteeMismatch', { guarantee: 'at_least_once' });
    });

    it('refuses more topics than it may have', () => {
      given(...OPENED)
        .when(open({ topics: ['a', 'b', 'c'].map(aPattern) }))
        .thenRefused('TooManyTopics', { topicsMax: 3 });
      given(...OPENED)
        .when(open({ topics: ['orders', 'a', 'b'].map(aPattern), starts: [] }))
        .then(added(['a', 'b'], []));
    });
  });

  describe('whose topics change', () => {
    it('follows topics that a pattern has come to match, once', () => {
      const starts = [
        { topic: orders, at: m2 },
        { topic: users, at: aCursor(0) },
      ];
      given(opened(), added(['>'], ['orders']))
        .when({ type: 'Follow', starts })
        .then({ type: 'TopicsAdded', topics: [], starts: [{ topic: users, at: aCursor(0) }] });
      given(opened(), added(['>'], ['orders', 'users']))
        .when({ type: 'Follow', starts })
        .thenNothing();
    });

    it('removes what it has, and says nothing of what it has not', () => {
      given(...OPENED)
        .when({ type: 'Remove', topics: ['orders', 'users'].map(aPattern) })
        .then(removed('orders'));
      given(...OPENED)
        .when({ type: 'Remove', topics: [aPattern('users')] })
        .thenNothing();
    });

    it('forgets where it stood in a removed topic', () => {
      const state = stateAfter(...OPENED, added(['users']), dispatched(m1), removed('orders'));
      expect([...state.positions.keys()]).to.deep.equal(['users']);
      expect(state.topics).to.deep.equal(['users']);
      expect(credit(state)).to.equal(3);
    });

    it('goes on in a topic that another of its patterns still matches', () => {
      const state = stateAfter(
        opened(),
        added(['orders', '*'], ['orders', 'users']),
        dispatched(m1),
        removed('orders'),
      );
      expect(state.positions.get(orders)?.inFlightCount).to.equal(1);
      expect([...stateAfter(opened(), added(['*'], ['orders']), removed('*')).positions]).to.deep.equal([]);
    });

    it('forgets, when it is opened again, where it stood in a topic that is gone', () => {
      given(opened(), added(['*'], ['orders', 'users']), started('s1'))
        .when(
          open({
            topics: [aPattern('*')],
            starts: [],
            gone: { type: 'Forget', topics: [users], before: now + 1 },
          }),
        )
        .then({ type: 'TopicsForgotten', topics: [users] });
    });

    it('believes a journal that speaks of a topic after it was removed', () => {
      const state = stateAfter(...OPENED, removed('orders'));
      expect(stateAfter(...OPENED, removed('orders'), dispatched(m1), acknowledged(m1))).to.deep.equal(state);
    });
  });

  describe('whose topics are gone', () => {
    const forget = (before: number, ...topics: readonly (typeof orders)[]): SubscriptionCommand => ({
      type: 'Forget',
      topics,
      before,
    });
    const FOUND = [opened(), added(['*'], ['orders', 'users']), started('s1')];
    const after = now + 1;

    it('forgets where it stood in them, and keeps the patterns that may find them again', () => {
      given(...FOUND)
        .when(forget(after, orders, users))
        .then({ type: 'TopicsForgotten', topics: [orders, users] });
      const state = stateAfter(...FOUND, { type: 'TopicsForgotten', topics: [orders] });
      expect([...state.positions.keys()]).to.deep.equal(['users']);
      expect(state.topics).to.deep.equal(['*']);
      given(...FOUND, { type: 'TopicsForgotten', topics: [orders] })
        .when({ type: 'Follow', starts: [{ topic: orders, at: m4 }] })
        .then({ type: 'TopicsAdded', topics: [], starts: [{ topic: orders, at: m4 }] });
    });

    it('keeps a topic that was named, though a pattern matches it as well', () => {
      given(opened(), added(['orders', '*'], ['orders', 'users']))
        .when(forget(after, orders, users))
        .then({ type: 'TopicsForgotten', topics: [users] });
    });

    it('keeps a topic of which something is unacknowledged, until it is settled', () => {
      given(...FOUND, dispatched(m1))
        .when(forget(after, orders))
        .thenNothing();
      given(...FOUND, dispatched(m1), expired(m1))
        .when(forget(after, orders))
        .thenNothing();
      given(...FOUND, dispatched(m1), acknowledged(m1))
        .when(forget(after, orders))
        .then({ type: 'TopicsForgotten', topics: [orders] });
    });

    it('keeps a topic that has come back since: its position is not older than what is said of it', () => {
      given(...FOUND)
        .when(forget(now, orders, users))
        .thenNothing();
    });

    it('says nothing of topics that it does not follow', () => {
      given(...FOUND)
        .when(forget(after, aTopic('others')))
        .thenNothing();
    });
  });

  describe('that is dispatched to', () => {
    it('records what was given, and until when it has to be acknowledged', () => {
      given(...OPENED)
        .when(dispatch([m1, m2]))
        .then(dispatched(m1, m2));
    });

    it('waits for what was given, and for nothing that was passed over', () => {
      const state = stateAfter(...OPENED, { ...dispatched(m1, m3), next: m4 } as SubscriptionEvent);
      const position = state.positions.get(orders);
      expect(position?.next).to.deep.equal(m4);
      expect(position?.inFlight.flatMap(({ cursors }) => cursors)).to.deep.equal([m1, m3]);
      expect(credit(state)).to.equal(1);
    });

    it('waits for nothing at most once', () => {
      given(...AT_MOST_ONCE)
        .when(dispatch([m1, m2, m3]))
        .then(dispatched(m1, m2, m3));
      const state = stateAfter(...AT_MOST_ONCE, dispatched(m1, m2, m3));
      expect(state.positions.get(orders)).to.deep.include({ next: m3, inFlight: [], due: [] });
      expect(credit(state)).to.equal(3);
    });

    it('moves on where nothing is given', () => {
      given(...OPENED)
        .when(dispatch([], { next: m2 }))
        .then({ type: 'MessagesSkipped', topic: orders, next: m2 });
      const state = stateAfter(...OPENED, { type: 'MessagesSkipped', topic: orders, next: m2 });
      expect(state.positions.get(orders)?.next).to.deep.equal(m2);
      given(...OPENED, dispatched(m3))
        .when(dispatch([], { next: m3 }))
        .thenNothing();
    });

    it('refuses more than it may have unacknowledged, over all of its topics', () => {
      given(...OPENED)
        .when(dispatch([m1, m2, m3, m4]))
        .thenRefused('InFlightExceeded', { maxInFlight: 3 });
      given(...OPENED, dispatched(m1, m2))
        .when(dispatch([m3, m4]))
        .thenRefused('InFlightExceeded', { maxInFlight: 3 });
      given(...OPENED, added(['users']), dispatched(m1, m2))
        .when(dispatch([m1, m2], { topic: users }))
        .thenRefused('InFlightExceeded', { maxInFlight: 3 });
    });

    it('needs no room for what is due again: that is counted already', () => {
      given(...OPENED, dispatched(m1, m2, m3), expired(m1, m2))
        .when(dispatch([m1, m2], { next: m3, attempt: 2, now: deadline }))
        .then({
          ...dispatchedAs(2, m1, m2),
          next: m3,
          deadline: deadline + 1_000,
        } as SubscriptionEvent);
    });

    it('refuses as new what it has looked at: in flight, settled or passed over', () => {
      const SEEN = [...OPENED, { ...dispatched(m1, m2), next: m3 } as SubscriptionEvent, acknowledged(m2)];
      for (const cursors of [[m1], [m2], [m3], [m3, m4], [m1, m4]]) {
        given(...SEEN)
          .when(dispatch(cursors))
          .thenRefused('NotDispatchable', { topic: orders });
      }
      given(...SEEN)
        .when(dispatch([m4]))
        .then(dispatched(m4));
    });

    it('refuses at most once what it has given', () => {
      given(...AT_MOST_ONCE, dispatched(m1))
        .when(dispatch([m1]))
        .thenRefused('NotDispatchable', { topic: orders });
      given(...AT_MOST_ONCE, dispatched(m1))
        .when(dispatch([m1], { attempt: 2 }))
        .thenRefused('NotDispatchable', { topic: orders });
    });

    it('refuses new messages that are out of order, named twice, or above what was looked at', () => {
      for (const cursors of [
        [m2, m1],
        [m1, m1],
      ]) {
        given(...OPENED)
          .when(dispatch(cursors, { next: m3 }))
          .thenRefused('NotDispatchable', { topic: orders });
      }
      given(...OPENED)
        .when(dispatch([m1, m3], { next: m2 }))
        .thenRefused('NotDispatchable', { topic: orders });
    });

    it('refuses as a later attempt what is not due as that attempt', () => {
      const DUE = [...OPENED, dispatched(m1, m2, m3), expired(m1, m3)];
      const again = { next: m3, attempt: 2, now: deadline };
      const refused = [
        dispatch([m1], { ...again, attempt: 3 }),
        dispatch([m2], again),
        dispatch([m1, m2], again),
        dispatch([m4], { ...again, next: m4 }),
        dispatch([m3, m1], again),
        dispatch([m1, m1], again),
        dispatch([m1], { ...again, attempt: 0 }),
      ];
      for (const command of refused) {
        given(...DUE)
          .when(command)
          .thenRefused('NotDispatchable', { topic: orders });
      }
      for (const cursors of [[m1], [m3], [m1, m3]]) {
        given(...DUE)
          .when(dispatch(cursors, again))
          .then({
            ...dispatchedAs(2, ...cursors),
            next: m3,
            deadline: deadline + 1_000,
          } as SubscriptionEvent);
      }
    });

    it('refuses what is to wait longer', () => {
      const WAITING = [...OPENED, dispatched(m1), rejected(now + 50, m1)];
      given(...WAITING)
        .when(dispatch([m1], { attempt: 2, now: now + 49 }))
        .thenRefused('NotDispatchable', { topic: orders });
      given(...WAITING)
        .when(dispatch([m1], { attempt: 2, now: now + 50 }))
        .then({ ...dispatchedAs(2, m1), deadline: deadline + 50 } as SubscriptionEvent);
    });

    it('refuses a topic that it does not follow', () => {
      given(...OPENED)
        .when(dispatch([m1], { topic: users }))
        .thenRefused('TopicNotFollowed', { topic: users });
    });
  });

  describe('that is acknowledged', () => {
    it('records what waited for it', () => {
      given(...OPENED, dispatched(m1, m2, m3))
        .when(acknowledge(m3, m1))
        .then(acknowledged(m3, m1));
      expect(credit(stateAfter(...OPENED, dispatched(m1, m2, m3), acknowledged(m3, m1)))).to.equal(2);
    });

    it('says nothing of what was acknowledged before, or never given', () => {
      given(...OPENED, dispatched(m1, m2), acknowledged(m1))
        .when(acknowledge(m1, m2, m4))
        .then(acknowledged(m2));
      given(...OPENED, dispatched(m1), acknowledged(m1))
        .when(acknowledge(m1))
        .thenNothing();
    });

    it('takes a late acknowledgement of what is due again', () => {
      given(...OPENED, dispatched(m1), expired(m1))
        .when(acknowledge(m1))
        .then(acknowledged(m1));
      const state = stateAfter(...OPENED, dispatched(m1), expired(m1), acknowledged(m1));
      expect(state.positions.get(orders)?.due).to.deep.equal([]);
    });

    it('says nothing at most once: nothing waits', () => {
      given(...AT_MOST_ONCE, dispatched(m1))
        .when(acknowledge(m1))
        .thenNothing();
    });

    it('refuses a topic that it does not follow', () => {
      given(...OPENED)
        .when({ ...acknowledge(m1), topic: users } as SubscriptionCommand)
        .thenRefused('TopicNotFollowed', { topic: users });
    });
  });

  describe('that is given messages back', () => {
    const again = { attempt: 2 } as const;

    it('records what waited, to come again not before the delay', () => {
      given(...OPENED, dispatched(m1, m2))
        .when(reject([m2, m4], { delayMs: 50 }))
        .then(rejected(now + 50, m2));
      const state = stateAfter(...OPENED, dispatched(m1, m2), rejected(now + 50, m2));
      expect(state.positions.get(orders)?.due).to.deep.equal([{ cursor: m2, ...again, notBefore: now + 50 }]);
      expect(credit(state)).to.equal(1);
    });

    it('has due at once what comes back without delay and without backoff', () => {
      given(...OPENED, dispatched(m1))
        .when(reject([m1]))
        .then(rejected(now, m1));
    });

    it('has it wait for the backoff of its attempt where no delay is named', () => {
      given(...BACKING_OFF, dispatched(m1), dispatched(m2), expired(m1), dispatchedAs(2, m1))
        .when(reject([m1, m2]))
        .then(rejected(now + 100, m2), rejected(now + 2_000, m1));
    });

    it('takes a delay that is named instead of the backoff, also none at all', () => {
      given(...BACKING_OFF, dispatched(m1))
        .when(reject([m1], { delayMs: 7 }))
        .then(rejected(now + 7, m1));
      given(...BACKING_OFF, dispatched(m1))
        .when(reject([m1], { delayMs: 0 }))
        .then(rejected(now, m1));
    });

    it('spreads the backoff by a fifth to either side, and a named delay not at all', () => {
      given(...BACKING_OFF, dispatched(m1))
        .when(reject([m1], { jitter: 0 }))
        .then(rejected(now + 80, m1));
      given(...BACKING_OFF, dispatched(m1))
        .when(reject([m1], { jitter: 0.999_999 }))
        .then(rejected(now + 120, m1));
      given(...BACKING_OFF, dispatched(m1))
        .when(reject([m1], { jitter: 0, delayMs: 100 }))
        .then(rejected(now + 100, m1));
    });

    it('moves what is due already, as the attempt that it would have been', () => {
      given(...BACKING_OFF, dispatched(m1), expired(m1))
        .when(reject([m1]))
        .then(rejected(now + 100, m1));
      const state = stateAfter(...OPENED, dispatched(m1), expired(m1), rejected(now + 50, m1));
      expect(state.positions.get(orders)?.due).to.deep.equal([{ cursor: m1, ...again, notBefore: now + 50 }]);
    });

    it('records a message once, however often it is named', () => {
      given(...OPENED, dispatched(m1))
        .when(reject([m1, m1]))
        .then(rejected(now, m1));
    });

    it('says nothing of what was acknowledged', () => {
      given(...OPENED, dispatched(m1), acknowledged(m1))
        .when(reject([m1]))
        .thenNothing();
    });

    it('says nothing at most once: nothing waits', () => {
      given(...AT_MOST_ONCE, dispatched(m1))
        .when(reject([m1]))
        .thenNothing();
    });

    it('refuses a topic that it does not follow', () => {
      given(...OPENED)
        .when(reject([m1], { topic: users }))
        .thenRefused('TopicNotFollowed', { topic: users });
    });
  });

  describe('whose client asks for more time', () => {
    it('waits for the whole acknowledgement timeout anew', () => {
      given(...OPENED, dispatched(m1, m2, m3))
        .when(extend(now + 400, m2))
        .then(extendedTo(now + 1_400, m2));
      const history = [...OPENED, dispatched(m1, m2, m3), extendedTo(now + 1_400, m2)];
      given(...history)
        .when(expire(deadline))
        .then(expired(m1, m3));
      given(...history, expired(m1, m3))
        .when(expire(now + 1_400))
        .then(expiredUntil(now + 1_400, m2));
      expect(credit(stateAfter(...history))).to.equal(0);
    });

    it('takes back what is due again and was not given again yet', () => {
      const history = [...OPENED, dispatched(m1, m2), expired(m1, m2)];
      given(...history)
        .when(extend(deadline, m1))
        .then(extendedTo(deadline + 1_000, m1));
      const position = stateAfter(...history, extendedTo(deadline + 1_000, m1)).positions.get(orders);
      const inFlight = [{ cursors: [m1], from: 0, attempt: 1, deadline: deadline + 1_000 }];
      expect(position?.inFlight).to.deep.equal(inFlight);
      expect(position?.due.map(({ cursor }) => cursor)).to.deep.equal([m2]);
      given(...history, extendedTo(deadline + 1_000, m1))
        .when(dispatch([m1], { attempt: 2, now: deadline, next: m2 }))
        .thenRefused('NotDispatchable', { topic: orders });
    });

    it('says nothing of what was acknowledged, or never given', () => {
      given(...OPENED, dispatched(m1), acknowledged(m1))
        .when(extend(now, m1, m4))
        .thenNothing();
      given(...AT_MOST_ONCE, dispatched(m1))
        .when(extend(now, m1))
        .thenNothing();
    });

    it('refuses a topic that it does not follow', () => {
      given(...OPENED)
        .when({ ...extend(now, m1), topic: users } as SubscriptionCommand)
        .thenRefused('TopicNotFollowed', { topic: users });
    });
  });

  describe('whose deadlines pass', () => {
    it('has due again what was not acknowledged, as the next attempt', () => {
      given(...OPENED, dispatched(m1, m2), acknowledged(m1))
        .when(expire(deadline))
        .then(expired(m2));
      const state = stateAfter(...OPENED, dispatched(m1, m2), acknowledged(m1), expired(m2));
      expect(state.positions.get(orders)?.due).to.deep.equal([
        { cursor: m2, attempt: 2, notBefore: deadline },
      ]);
    });

    it('has each wait for the backoff of its attempt, the last one of the list for all later ones', () => {
      const history = [
        ...BACKING_OFF,
        ...[dispatched(m1), expired(m1), dispatchedAs(2, m1), expired(m1), dispatchedAs(3, m1)],
        ...[dispatched(m2), expired(m2), dispatchedAs(2, m2)],
        dispatched(m3),
      ];
      given(...history)
        .when(expire(deadline))
        .then(
          expiredUntil(deadline + 2_000, m1),
          expiredUntil(deadline + 2_000, m2),
          expiredUntil(deadline + 100, m3),
        );
    });

    it('says in one event what was delivered equally often', () => {
      given(...BACKING_OFF, dispatched(m1), dispatched(m2, m3))
        .when(expire(deadline))
        .then(expiredUntil(deadline + 100, m1, m2, m3));
    });

    it('spreads the backoff by a fifth to either side', () => {
      given(...BACKING_OFF, dispatched(m1))
        .when(expire(deadline, { jitter: 0 }))
        .then(expiredUntil(deadline + 80, m1));
      given(...BACKING_OFF, dispatched(m1))
        .when(expire(deadline, { jitter: 0.999_999 }))
        .then(expiredUntil(deadline + 120, m1));
    });

    it('says nothing before the deadline, or where nothing waits', () => {
      given(...OPENED, dispatched(m1))
        .when(expire(deadline - 1))
        .thenNothing();
      given(...OPENED)
        .when(expire(deadline))
        .thenNothing();
      given(...AT_MOST_ONCE, dispatched(m1))
        .when(expire(deadline))
        .thenNothing();
    });

    it('looks at every topic', () => {
      const other = { ...dispatched(m1), topic: users } as SubscriptionEvent;
      given(...OPENED, added(['users']), dispatched(m1), other)
        .when(expire(deadline))
        .then(expired(m1), { ...expired(m1), topic: users } as SubscriptionEvent);
    });
  });

  describe('that gives messages up', () => {
    it('waits no longer for what is in flight or due again', () => {
      const history = [...OPENED, dispatched(m1, m2, m3), expired(m1)];
      given(...history)
        .when(deadLetter(m1, m2))
        .then(deadLettered(m1, m2));
      const state = stateAfter(...history, deadLettered(m1, m2));
      expect(credit(state)).to.equal(2);
      given(...history, deadLettered(m1, m2))
        .when(dispatch([m1], { attempt: 2, now: deadline, next: m3 }))
        .thenRefused('NotDispatchable', { topic: orders });
      given(...history, deadLettered(m1, m2))
        .when(acknowledge(m1, m2))
        .thenNothing();
    });

    it('says why', () => {
      given(...OPENED, dispatched(m1))
        .when({ ...deadLetter(m1), reason: 'terminated' } as SubscriptionCommand)
        .then({ ...deadLettered(m1), reason: 'terminated' } as SubscriptionEvent);
    });

    it('says nothing of what was acknowledged, or given up before, or never given', () => {
      given(...OPENED, dispatched(m1, m2), acknowledged(m1), deadLettered(m2))
        .when(deadLetter(m1, m2, m4))
        .thenNothing();
    });

    it('refuses a topic that it does not follow', () => {
      given(...OPENED)
        .when({ ...deadLetter(m1), topic: users } as SubscriptionCommand)
        .thenRefused('TopicNotFollowed', { topic: users });
    });

    it('does so after as many deliveries as its settings allow, and never where they name none', () => {
      const exhausted = (maxDeliveries: number) =>
        [1, 2, 3, 4].map((attempt) => isExhausted(someSettings({ maxDeliveries }), attempt));
      expect(exhausted(3)).to.deep.equal([false, false, false, true]);
      expect(exhausted(1)).to.deep.equal([false, true, true, true]);
      expect(exhausted(0)).to.deep.equal([false, false, false, false]);
    });
  });

  describe('whose connection commits', () => {
    const pending = [{ cursor: m2, attempt: 2, notBefore: 0 }];

    it('stands where the connection says', () => {
      given(...OPENED)
        .when({ type: 'Commit', topic: orders, next: m3, pending })
        .then({ type: 'PositionCommitted', topic: orders, next: m3, pending });
      const committed: SubscriptionEvent = { type: 'PositionCommitted', topic: orders, next: m3, pending };
      const state = stateAfter(...OPENED, dispatched(m1, m2), committed);
      expect(state.positions.get(orders)).to.deep.equal({
        next: m3,
        inFlight: [],
        inFlightCount: 0,
        due: pending,
      });
    });

    it('refuses a topic that it does not follow', () => {
      given(...OPENED)
        .when({ type: 'Commit', topic: users, next: m3, pending })
        .thenRefused('TopicNotFollowed', { topic: users });
    });
  });

  describe('as a snapshot', () => {
    it('is the state that its history is', () => {
      const histories = [
        OPENED,
        AT_MOST_ONCE,
        [...OPENED, dispatched(m1, m2, m3), acknowledged(m2), expired(m1), started(POLLS)],
        [
          ...OPENED,
          dispatched(m1, m2, m3),
          rejected(now + 9, m1),
          extendedTo(now + 99, m2),
          deadLettered(m3),
          added(['users', 'x.*'], ['users']),
          removed('orders'),
        ],
      ];
      for (const history of histories) {
        const state = stateAfter(...history);
        expect(stateAfter(toSnapshot(state))).to.deep.equal(state);
        expect(stateAfter(...history, toSnapshot(state))).to.deep.equal(state);
      }
    });

    it('replaces whatever was before it', () => {
      const snapshot = toSnapshot(stateAfter(...OPENED, dispatched(m1)));
      expect(stateAfter(...AT_MOST_ONCE, added(['users']), snapshot)).to.deep.equal(stateAfter(snapshot));
    });
  });

  it('folds every event that a journal can hold', () => {
    expect(() => stateAfter(...everySubscriptionEvent())).not.to.throw();
  });

  it('throws on what is neither a command nor an event', () => {
    expect(() => subscription.decide(subscription.initialState, { type: 'Explode' } as never)).to.throw(
      'Explode',
    );
    expect(() => subscription.evolve(subscription.initialState, { type: 'Exploded' } as never)).to.throw(
      'Exploded',
    );
  });

  it('selects topics by name and by pattern', () => {
    const topics = ['orders', 'users.*'].map(aPattern);
    expect(
      ['orders', 'users.eu', 'users', 'orders.eu'].map((topic) => selects(topics, aTopic(topic))),
    ).to.deep.equal([true, true, false, false]);
    expect(namedTopics(topics)).to.deep.equal(['orders']);
  });
});
