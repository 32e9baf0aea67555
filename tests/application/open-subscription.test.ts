import { expect } from 'chai';
import type { SubscriptionRequest } from '../../application/open-subscription.js';
import { BEGINNING } from '../../domain/message/offset.js';
import { replay } from '../../domain/decider.js';
import type { SubscriptionEvent } from '../../domain/subscription/subscription-events.js';
import { subscription, type Subscription } from '../../domain/subscription/subscription.js';
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
});
