import { expect } from 'chai';
import { taskEither as TE } from 'fp-ts';
import { subscriptionStream, topicStream, type EventStore } from '../../application/ports/event-store.js';
import {
  begunAnew,
  makeSubscriptionJournal,
  unopened,
  type Folded,
  type SubscriptionJournal,
} from '../../application/subscription-journal.js';
import type { JournalSignals, OnJournalSignal } from '../../application/ports/journal-signals.js';
import type { Identity } from '../../domain/subscription/client-id.js';
import { BEGINNING, NO_OFFSET } from '../../domain/message/offset.js';
import type { SubscriptionEvent } from '../../domain/subscription/subscription-events.js';
import { aCursor, anIdentity, aPattern, aTopic, someSettings } from '../support/builders.js';
import { Backend } from '../support/instance.js';
import { left, right } from '../support/task-either.js';
import { UnreliableStore } from '../support/unreliable-store.js';

const TOPIC = aTopic('orders');
const opened: readonly SubscriptionEvent[] = [
  { type: 'SubscriptionOpened', guarantee: 'at_least_once', settings: someSettings({ maxInFlight: 1_000 }) },
  { type: 'TopicsAdded', topics: [aPattern('orders')], starts: [{ topic: TOPIC, at: aCursor(0) }] },
  { type: 'SessionStarted', session: 's1' },
];
const dispatched = (n: number): SubscriptionEvent => ({
  type: 'MessagesDispatched',
  topic: TOPIC,
  next: aCursor(n),
  cursors: [aCursor(n)],
  attempt: 1,
  deadline: 1_000,
});

/** Told before `send` returns. */
class PromptSignals implements JournalSignals {
  private readonly listeners: OnJournalSignal[] = [];
  private readonly missedListeners: (() => void)[] = [];

  send(identity: Identity, by: string | undefined): void {
    for (const listener of this.listeners) listener(identity, by);
  }

  tellMissed(): void {
    for (const listener of this.missedListeners) listener();
  }

  onSignal(listener: OnJournalSignal): void {
    this.listeners.push(listener);
  }

  onMissed(listener: () => void): void {
    this.missedListeners.push(listener);
  }
}

describe('The journal of a subscription', () => {
  const identity = anIdentity();
  const stream = subscriptionStream(identity);
  let backend: Backend;
  let store: UnreliableStore;
  let signals: PromptSignals;
  let journal: SubscriptionJournal;

  beforeEach(() => {
    backend = new Backend();
    store = new UnreliableStore(backend.store);
    signals = new PromptSignals();
    journal = journalOf(store);
  });

  const journalOf = (used: EventStore): SubscriptionJournal =>
    makeSubscriptionJournal({ store: used, signals, clock: backend.clock });

  const load = () => right(journal.load(identity));
  const append = async (folded: Folded, ...events: readonly SubscriptionEvent[]) =>
    right(journal.append(folded, events));
  const events = async () =>
    (await right(backend.store.read(stream, NO_OFFSET, 10_000))).map(({ event }) => event);

  /** `count` dispatches, one append each. */
  const dispatch = async (folded: Folded, count: number, from = 1): Promise<Folded> => {
    let last = folded;
    for (let n = from; n < from + count; n++) last = await append(last, dispatched(n));
    return last;
  };

  it('knows nothing of a subscription that nobody has opened', async () => {
    expect(await load()).to.deep.equal(unopened(identity));
    expect((await load()).state.isOpen).to.be.false;
  });

  it('reads what is new of a journal that it has loaded before, and no more', async () => {
    await dispatch(await append(await load(), ...opened), 50);
    await load();
    const other = journalOf(backend.store);
    const appended = await right(other.append(await right(other.load(identity)), [dispatched(51)]));
    let eventsRead = 0;
    const read = store.read.bind(store);
    store.read = (of, after, limit) =>
      TE.tapIO((found: readonly unknown[]) => () => (eventsRead += found.length))(
        read(of, after, limit),
      ) as never;
    expect(await load()).to.deep.equal(appended);
    // The last one that it knew, and what came after it.
    expect(eventsRead).to.equal(2);
  });

  it('loads all of a journal that is not the one it has loaded before', async () => {
    await dispatch(await append(await load(), ...opened), 5);
    backend.replaceJournal(stream, []);
    expect(await load()).to.deep.equal(unopened(identity));
    await backend.pass(10);
    await right(backend.store.append(stream, [...opened, dispatched(1)]));
    const { state, at } = await load();
    expect([at.n, state.positions.get(TOPIC)?.inFlightCount]).to.deep.equal([4, 1]);
  });

  it('loads what was appended', async () => {
    const appended = await append(await load(), ...opened, dispatched(1));
    expect(await load()).to.deep.equal(appended);
    expect(appended.at.n).to.equal(4);
    expect(appended.state.session).to.equal('s1');
  });

  it('appends nothing where there is nothing', async () => {
    const before = await append(await load(), ...opened);
    expect(await append(before)).to.equal(before);
    expect((await load()).at).to.deep.equal(before.at);
  });

  describe('is recalled', () => {
    it('as it was loaded or appended to last, without reading it', async () => {
      expect(journal.recall(identity)).to.be.undefined;
      const loaded = await load();
      expect(journal.recall(identity)).to.deep.equal(loaded);
      store.read = () => expect.fail('was read');
      const appended = await append(loaded, ...opened);
      expect(journal.recall(identity)).to.equal(appended);
    });

    it('for five seconds', async () => {
      const appended = await append(await load(), ...opened);
      backend.clock.advance(4_999);
      expect(journal.recall(identity)).to.equal(appended);
      backend.clock.advance(1);
      expect(journal.recall(identity)).to.be.undefined;
    });

    it('until somebody tells that it was written to, and then not before it was read', async () => {
      await append(await load(), ...opened);
      signals.send(anIdentity({ clientId: 'somebody-else' }), undefined);
      expect(journal.recall(identity)).not.to.be.undefined;
      signals.send(identity, undefined);
      expect(journal.recall(identity)).to.be.undefined;
      const loaded = await load();
      expect(journal.recall(identity)).to.equal(loaded);
    });

    it('until that may have been told, and was not heard', async () => {
      await append(await load(), ...opened);
      signals.tellMissed();
      expect(journal.recall(identity)).to.be.undefined;
    });

    it('until an append is refused', async () => {
      const old = await append(await load(), ...opened);
      const other = journalOf(backend.store);
      await right(other.append(await right(other.load(identity)), [dispatched(1)]));
      await left(journal.append(old, [dispatched(1)]));
      expect(journal.recall(identity)).to.be.undefined;
    });

    for (const what of ['loaded', 'appended to'] as const) {
      it(`not where it is told while it is ${what}`, async () => {
        const known = await append(await load(), ...opened);
        const under = what === 'loaded' ? load() : append(known, dispatched(1));
        signals.send(identity, undefined);
        await under;
        expect(journal.recall(identity)).to.be.undefined;
        await load();
        expect(journal.recall(identity)).not.to.be.undefined;
      });
    }

    it('among the 5,000 that were used last, if not more', async () => {
      await append(await load(), ...opened);
      for (let i = 0; i < 4_998; i++) await right(journal.load(anIdentity({ clientId: `c${i}` })));
      expect(journal.recall(identity)).not.to.be.undefined;
      for (let i = 0; i < 5_002; i++) await right(journal.load(anIdentity({ clientId: `d${i}` })));
      expect(journal.recall(identity)).to.be.undefined;
    });
  });

  it('refuses what was decided on an older state', async () => {
    const old = await append(await load(), ...opened);
    const { at } = await append(old, dispatched(1));
    const conflict = { _tag: 'VersionConflict', actual: at };
    expect(await left(journal.append(old, [dispatched(1)]))).to.deep.equal(conflict);
    expect(await left(journal.append(unopened(identity), opened))).to.deep.equal(conflict);
  });

  it('tells what others have appended since', async () => {
    const old = await append(await load(), ...opened);
    await append(old, dispatched(1), dispatched(2));
    const since = await right(journal.since(old));
    expect(since.map(({ event }) => event)).to.deep.equal([dispatched(1), dispatched(2)]);
    expect(await right(journal.since(await load()))).to.deep.equal([]);
  });

  describe('that grows long', () => {
    it('is replaced by a snapshot after 100 events, and forgets what lies in front of it', async () => {
      const folded = await dispatch(await append(await load(), ...opened), 97);
      expect(await events()).to.have.length(100);
      const snapshotted = await append(folded, dispatched(98));
      expect((await events()).map(({ type }) => type)).to.deep.equal(['SubscriptionSnapshotted']);
      expect(snapshotted.eventsSinceSnapshot).to.equal(0);
    });

    it('loads from a snapshot what it loaded before, and goes on from there', async () => {
      const folded = await dispatch(await append(await load(), ...opened), 98);
      expect(await load()).to.deep.equal(folded);
      const longer = await dispatch(folded, 50, 99);
      expect(await load()).to.deep.equal(longer);
      expect(longer.eventsSinceSnapshot).to.equal(50);
      expect(longer.state.positions.get(TOPIC)?.inFlightCount).to.equal(148);
    });

    it('is refused to whoever has not seen the snapshot', async () => {
      const old = await append(await load(), ...opened);
      await dispatch(old, 98);
      expect(await left(journal.append(old, [dispatched(1)]))).to.include({ _tag: 'VersionConflict' });
      const since = await right(journal.since(old));
      expect(since.map(({ event }) => event.type)).to.deep.equal(['SubscriptionSnapshotted']);
    });

    it('is the same where what lies in front of the snapshot could not be forgotten', async () => {
      store.fault = ({ operation }) => (operation === 'trim' ? 'not_stored' : undefined);
      const folded = await dispatch(await append(await load(), ...opened), 98);
      expect(await events()).to.have.length(102);
      expect(await load()).to.deep.equal(folded);
      const longer = await dispatch(folded, 10, 99);
      expect(await load()).to.deep.equal(longer);
    });

    it('loads more than one page, where it was written at once', async () => {
      const many = Array.from({ length: 1_200 }, (_, i) => dispatched(i + 1));
      await right(backend.store.append(stream, [...opened, ...many]));
      const folded = await load();
      expect(folded.state.positions.get(TOPIC)?.inFlightCount).to.equal(1_200);
      expect(folded.at.n).to.equal(1_203);
      await append(folded, dispatched(1_201));
      expect((await load()).eventsSinceSnapshot).to.equal(0);
    });
  });

  it('begins anew with all that was known, where it is gone', async () => {
    const folded = await dispatch(await append(await load(), ...opened), 5);
    const other = anIdentity({ clientId: 'elsewhere' });
    const anew = await append({ ...begunAnew(folded, BEGINNING), identity: other }, dispatched(6));
    const loaded = await right(journal.load(other));
    expect(loaded.state).to.deep.equal(anew.state);
    expect(loaded.state.positions.get(TOPIC)?.inFlightCount).to.equal(6);
  });

  describe('that executes a command', () => {
    const acknowledge = (...ns: readonly number[]) =>
      ({ type: 'Acknowledge', topic: TOPIC, offsets: ns.map((n) => aCursor(n).offset) }) as const;

    it('loads, decides and appends', async () => {
      await dispatch(await append(await load(), ...opened), 2);
      await right(journal.execute(identity, acknowledge(1)));
      expect((await load()).state.positions.get(TOPIC)?.inFlightCount).to.equal(1);
    });

    it('starts over when somebody else was faster', async () => {
      await dispatch(await append(await load(), ...opened), 3);
      await Promise.all([1, 2, 3].map((n) => right(journal.execute(identity, acknowledge(n)))));
      expect((await load()).state.positions.get(TOPIC)?.inFlightCount).to.equal(0);
    });

    it('answers what the subscription refuses', async () => {
      await append(await load(), ...opened);
      const refused = journal.execute(identity, { ...acknowledge(1), topic: aTopic('other') });
      expect(await left(refused)).to.deep.equal({ _tag: 'TopicNotFollowed', topic: 'other' });
    });

    it('gives up where it loses again and again', async () => {
      await dispatch(await append(await load(), ...opened), 1);
      let n = 1;
      store.delay = async ({ operation }, way) => {
        if (operation === 'append' && way === 'to') {
          await right(backend.store.append(stream, [dispatched(++n)]));
        }
      };
      expect(await left(journal.execute(identity, acknowledge(1)))).to.include({ _tag: 'VersionConflict' });
    });
  });

  it('says where the store cannot be read or written', async () => {
    const folded = await append(await load(), ...opened);
    store.fault = () => 'not_stored';
    expect(await left(journal.load(identity))).to.include({ _tag: 'StoreUnavailable' });
    expect(await left(journal.append(folded, [dispatched(1)]))).to.include({ _tag: 'StoreUnavailable' });
  });

  it('has nothing to do with other streams', async () => {
    await right(backend.store.append(topicStream(TOPIC), [{ type: 'MessagePublished', payload: '1' }]));
    await append(await load(), ...opened);
    expect(await right(journal.load(anIdentity({ principal: 'jwt:bob' })))).to.deep.include({
      state: unopened(identity).state,
    });
  });
});
