import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import type { SubscriptionRequest } from '../../application/open-subscription.js';
import { BEGINNING } from '../../domain/message/offset.js';
import { replay } from '../../domain/decider.js';
import type { SubscriptionEvent } from '../../domain/subscription/subscription-events.js';
import {
  selects,
  subscription,
  toSnapshot,
  type Subscription,
} from '../../domain/subscription/subscription.js';
import { aCursor, aPattern, aTopic, someSettings } from '../support/builders.js';
import { anInstance, Backend, type Instance } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { left, right } from '../support/task-either.js';

describe('Preparing to open a subscription', () => {
  const SESSION = 's1';
  let backend: Backend;
  let instance: Instance;

  beforeEach(() => {
    backend = new Backend();
    instance = anInstance(backend, { settings: { maxInFlight: 100, ackTimeoutMs: 30_000 }, topicsMax: 9 });
  });

  const request = (
    topics: readonly string[],
    rest: Partial<SubscriptionRequest> = {},
  ): SubscriptionRequest => ({
    topics: topics.map(aPattern),
    start: { at: 'latest' },
    ...rest,
  });

  const prepare = (
    wanted: SubscriptionRequest,
    state: Subscription = subscription.initialState,
    principal = aPrincipal(),
  ) => instance.prepareOpening(principal, state, wanted, SESSION);

  const starts = async (...args: Parameters<typeof prepare>) =>
    Object.fromEntries((await right(prepare(...args))).starts.map(({ topic, at }) => [topic, at.n]));

  const openedWith = (...events: readonly SubscriptionEvent[]): Subscription =>
    replay(subscription, subscription.initialState, [
      { type: 'SubscriptionOpened', guarantee: 'at_least_once', settings: someSettings({ maxInFlight: 7 }) },
      ...events,
    ]);

  it('finds where each named topic begins, whether it exists or not', async () => {
    await backend.publish('orders', 'a', 'b');
    expect(await starts(request(['orders', 'new']))).to.deep.equal({ orders: 2, new: 0 });
    expect(await starts(request(['orders'], { start: { at: 'earliest' } }))).to.deep.equal({ orders: 0 });
  });

  it('finds the topics that a pattern matches, once each', async () => {
    await backend.publish('orders.eu', 'a');
    await backend.publish('orders.us', 'a', 'b');
    await backend.publish('users', 'a');
    const wanted = request(['orders.*', 'orders.>', 'orders.eu']);
    expect(await starts(wanted)).to.deep.equal({ 'orders.eu': 1, 'orders.us': 2 });
    expect((await right(prepare(wanted))).starts).to.have.length(2);
  });

  it('leaves a topic that is followed already where it is', async () => {
    await backend.publish('orders', 'a', 'b');
    const state = openedWith({
      type: 'TopicsAdded',
      topics: [aPattern('orders')],
      starts: [{ topic: aTopic('orders'), at: aCursor(1) }],
    });
    expect(await starts(request(['orders'], { start: { at: 'earliest' } }), state)).to.deep.equal({});
  });

  it('begins at the first message of a topic that a known pattern has come to match since', async () => {
    const state = openedWith({ type: 'TopicsAdded', topics: [aPattern('orders.>')], starts: [] });
    await backend.publish('orders.eu', 'a', 'b');
    expect(await starts(request(['users']), state)).to.deep.equal({ 'orders.eu': 0, users: 0 });
    expect((await right(prepare(request([]), state))).starts).to.deep.equal([
      { topic: 'orders.eu', at: BEGINNING },
    ]);
  });

  it('refuses a topic that is not granted, also one that the subscription has from before', async () => {
    const principal = aPrincipal({ subscribe: ['users'] });
    const forbidden = { _tag: 'Forbidden', action: 'subscribe', topic: 'orders' };
    expect(await left(prepare(request(['users', 'orders']), undefined, principal))).to.deep.equal(forbidden);
    const state = openedWith({ type: 'TopicsAdded', topics: [aPattern('orders')], starts: [] });
    expect(await left(prepare(request(['orders']), state, principal))).to.deep.equal(forbidden);
    await right(prepare(request(['users']), state, principal));
  });

  it('leaves out the topics that a pattern matches and the grants do not', async () => {
    await backend.publish('orders.eu', 'a');
    await backend.publish('orders.us', 'a');
    const principal = aPrincipal({ subscribe: ['orders.us'] });
    expect(await starts(request(['orders.*']), undefined, principal)).to.deep.equal({ 'orders.us': 1 });
  });

  it('takes the settings that were asked for, those of before, and the defaults, in this order', async () => {
    const settings = async (...args: Parameters<typeof prepare>) => (await right(prepare(...args))).settings;
    expect(await settings(request([]))).to.include({ maxInFlight: 100, ackTimeoutMs: 30_000 });
    expect(await settings(request([], { ackTimeoutMs: 5 }), openedWith())).to.include({
      maxInFlight: 7,
      ackTimeoutMs: 5,
    });
    expect(await settings(request([], { maxInFlight: 9 }), openedWith())).to.include({ maxInFlight: 9 });
  });

  it('does not exceed the max_in_flight of the configuration', async () => {
    expect((await right(prepare(request([], { maxInFlight: 100_000 })))).settings.maxInFlight).to.equal(100);
  });

  it('hands on what was asked for', async () => {
    const command = await right(prepare(request(['a'], { guarantee: 'at_most_once' })));
    expect(command).to.deep.include({
      type: 'Open',
      guarantee: 'at_most_once',
      session: SESSION,
      topicsMax: 9,
    });
    expect(command.topics).to.deep.equal(['a']);
    expect(await right(prepare(request(['a'])))).not.to.have.property('guarantee');
  });

  it('asks for the list of all topics only where there are patterns', async () => {
    await right(prepare(request(['a', 'b'])));
    expect(instance.feed.followed).to.equal(0);
    await right(prepare(request(['a', 'b.*'])));
    expect(instance.feed.followed).to.equal(1);
  });

  it('says where the store cannot be reached', async () => {
    instance.store.fault = () => 'not_stored';
    for (const topics of [['a'], ['a.*']]) {
      expect(await left(prepare(request(topics)))).to.include({ _tag: 'StoreUnavailable' });
    }
  });

  describe('where everything is there already that is asked for', () => {
    const RETENTION_MS = 1_000;
    const NAMES = ['orders', 'orders.eu', 'users'];

    interface Wish {
      readonly topics: readonly string[];
      readonly rest: Partial<SubscriptionRequest>;
      readonly session: string;
      readonly granted: readonly string[];
    }

    type Step =
      /** By an instance that is configured as the one that is asked in the end, or otherwise. */
      | { readonly do: 'open'; readonly wish: Wish; readonly isConfiguredAlike: boolean }
      | { readonly do: 'remove'; readonly topics: readonly string[] }
      | { readonly do: 'publish'; readonly topic: string }
      | { readonly do: 'follow' }
      | { readonly do: 'dispatch' }
      | { readonly do: 'pass'; readonly ms: number }
      | { readonly do: 'snapshot' };

    const topics = (minLength: number): fc.Arbitrary<readonly string[]> =>
      fc.array(
        fc.oneof(
          { weight: 8, arbitrary: fc.constantFrom(...NAMES) },
          { weight: 1, arbitrary: fc.constantFrom('orders.*', '>') },
        ),
        { minLength, maxLength: 3 },
      );
    const rest: fc.Arbitrary<Partial<SubscriptionRequest>> = fc
      .record({
        guarantee: fc.constantFrom(undefined, undefined, 'at_least_once', 'at_most_once'),
        ackTimeoutMs: fc.constantFrom(undefined, undefined, 5_000, 30_000),
        maxInFlight: fc.constantFrom(undefined, undefined, 3, 50, 100),
        start: fc.constantFrom({ at: 'latest' } as const, { at: 'earliest' } as const),
      })
      .map(({ guarantee, ackTimeoutMs, maxInFlight, start }) => ({
        start,
        ...(guarantee === undefined ? {} : { guarantee }),
        ...(ackTimeoutMs === undefined ? {} : { ackTimeoutMs }),
        ...(maxInFlight === undefined ? {} : { maxInFlight }),
      }));
    const wish: fc.Arbitrary<Wish> = fc.record({
      topics: topics(0),
      rest,
      session: fc.constantFrom('s1', 's1', 's1', 's2'),
      granted: fc.constantFrom(['>'], ['>'], ['>'], ['orders', 'orders.*'], ['users'], []),
    });
    const name = <Name extends Step['do']>(step: Name) => fc.constant(step);
    const step: fc.Arbitrary<Step> = fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: name('open'), wish, isConfiguredAlike: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ do: name('remove'), topics: topics(1) }) },
      { weight: 3, arbitrary: fc.record({ do: name('publish'), topic: fc.constantFrom(...NAMES, 'new') }) },
      { weight: 1, arbitrary: fc.record({ do: name('follow') }) },
      { weight: 1, arbitrary: fc.record({ do: name('dispatch') }) },
      { weight: 2, arbitrary: fc.record({ do: name('pass'), ms: fc.constantFrom(100, 10 * RETENTION_MS) }) },
      { weight: 1, arbitrary: fc.record({ do: name('snapshot') }) },
    );

    /** A subscription to which all this has happened, one thing after the other. */
    const afterSteps = async (
      shared: Backend,
      alike: Instance,
      other: Instance,
      steps: readonly Step[],
    ): Promise<Subscription> => {
      let state = subscription.initialState;
      const apply = (command: Parameters<typeof subscription.decide>[1]): void => {
        const decided = subscription.decide(state, command);
        if (E.isRight(decided)) state = replay(subscription, state, decided.right);
      };
      for (const each of steps) {
        switch (each.do) {
          case 'open': {
            const { wish: wanted, isConfiguredAlike } = each;
            const opening = await (isConfiguredAlike ? alike : other).prepareOpening(
              aPrincipal({ subscribe: wanted.granted }),
              state,
              request(wanted.topics, wanted.rest),
              wanted.session,
            )();
            if (E.isRight(opening)) apply(opening.right);
            break;
          }
          case 'remove':
            apply({ type: 'Remove', topics: each.topics.map(aPattern) });
            break;
          case 'publish':
            await shared.publish(each.topic, 'a');
            break;
          case 'follow':
            apply({
              type: 'Follow',
              starts: [...NAMES, 'new']
                .map((topic) => ({ topic: aTopic(topic), at: BEGINNING }))
                .filter(({ topic }) => selects(state.topics, topic)),
            });
            break;
          case 'dispatch':
            for (const [topic, { next }] of state.positions) {
              const cursor = { offset: (next.offset + 1) as typeof next.offset, n: next.n + 1 };
              const now = shared.clock.now();
              apply({ type: 'Dispatch', topic, next: cursor, cursors: [cursor], attempt: 1, now });
            }
            break;
          case 'pass':
            await shared.pass(each.ms);
            break;
          case 'snapshot':
            if (state.isOpen) state = replay(subscription, subscription.initialState, [toSnapshot(state)]);
        }
      }
      return state;
    };

    it('says so only where opening changes nothing and is refused to nobody', async () => {
      const runs = 300;
      let done = 0;
      await fc.assert(
        fc.asyncProperty(
          wish,
          fc.boolean(),
          fc.constantFrom(0, 0, 3),
          fc.array(step, { maxLength: 5 }),
          fc.oneof({ weight: 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: wish }),
          async (first, isConfiguredAlike, maxDeliveries, steps, other) => {
            const shared = new Backend({ messagesMs: RETENTION_MS, subscriptionMs: RETENTION_MS });
            const asked = anInstance(shared, { settings: { maxInFlight: 100 }, topicsMax: 2 });
            const otherwise = anInstance(shared, {
              settings: { maxInFlight: 50, maxDeliveries },
              topicsMax: 9,
            });
            const state = await afterSteps(shared, asked, otherwise, [
              { do: 'open', wish: first, isConfiguredAlike },
              ...steps,
            ]);
            // Who comes again says the same, mostly.
            const { topics: names, rest: settings, session, granted } = other ?? first;
            const wanted = [
              aPrincipal({ subscribe: granted }),
              state,
              request(names, settings),
              session,
            ] as const;
            if (!asked.prepareOpening.isDone(...wanted)) return;
            done += 1;
            const command = await right(asked.prepareOpening(...wanted));
            expect(subscription.decide(state, command)).to.deep.equal(E.right([]));
          },
        ),
        { numRuns: runs },
      );
      expect(done).to.be.above(runs / 20);
    });

    it('says so in the usual case: asked for by name, again, with everything as it was or left out', async () => {
      await backend.publish('orders', 'a');
      const first = request(['orders', 'new'], { guarantee: 'at_most_once', maxInFlight: 9 });
      const opened = subscription.decide(subscription.initialState, await right(prepare(first)));
      const state = replay(subscription, subscription.initialState, E.isRight(opened) ? opened.right : []);
      const { prepareOpening } = instance;
      for (const again of [first, request(['new']), request(['orders'], { start: { at: 'earliest' } })]) {
        expect(prepareOpening.isDone(aPrincipal(), state, again, SESSION)).to.be.true;
        expect(prepareOpening.isDone(aPrincipal(), state, again, 'another')).to.be.false;
      }
      expect(prepareOpening.isDone(aPrincipal(), subscription.initialState, first, SESSION)).to.be.false;
    });

    it('does not say so where there are more topics than there may be by now', async () => {
      const few = anInstance(backend, { settings: { maxInFlight: 100, ackTimeoutMs: 30_000 }, topicsMax: 1 });
      const wanted = request(['orders', 'users']);
      const opened = subscription.decide(subscription.initialState, await right(prepare(wanted)));
      const state = replay(subscription, subscription.initialState, E.isRight(opened) ? opened.right : []);
      expect(few.prepareOpening.isDone(aPrincipal(), state, wanted, SESSION)).to.be.false;
    });
  });
});
