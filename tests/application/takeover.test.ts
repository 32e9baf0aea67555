import { expect } from 'chai';
import { subscriptionStream } from '../../application/ports/event-store.js';
import { replay } from '../../domain/decider.js';
import { subscription } from '../../domain/subscription/subscription.js';
import { aPattern, aTopic } from '../support/builders.js';
import { anInstance, Backend, identityOf, payloadsOf } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { settle } from '../support/settle.js';
import { right } from '../support/task-either.js';
import { isCommit } from '../support/unreliable-store.js';

const EARLIEST = { at: 'earliest' } as const;
const JOURNAL = subscriptionStream(identityOf({}));

describe('A subscription that another instance takes over', () => {
  let backend: Backend;
  const publish = (...payloads: readonly string[]) => backend.publish('orders', ...payloads);

  beforeEach(() => {
    backend = new Backend({ subscriptionMs: 40_000 });
  });

  it('is lost to the newer connection at once, though nothing happens on it', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    const older = await one.subscribe();
    const newer = await other.subscribe();
    expect(older.connection.closes).to.deep.equal(['superseded']);
    expect(newer.connection.closes).to.deep.equal([]);
    expect(one.metrics.superseded).to.equal(1);
    await publish('a');
    expect(older.connection.payloads).to.deep.equal([]);
    expect(newer.connection.payloads).to.deep.equal(['a']);
  });

  it('is lost with the next commit where nobody has told', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    one.signals.isCut = true;
    const older = await one.subscribe();
    const [a] = await publish('a');
    await other.subscribe();
    expect(older.connection.closes).to.deep.equal([]);
    older.session.acknowledge([a!]);
    await backend.pass(200);
    expect(older.connection.closes).to.deep.equal(['superseded']);
  });

  it('does not count what the older connection acknowledges afterwards', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    one.signals.isCut = true;
    const older = await one.subscribe();
    const [a] = await publish('a');
    await backend.pass(1_500);
    const newer = await other.subscribe();
    expect(newer.connection.deliveries).to.deep.include({ ...newer.connection.deliveries[0]!, attempt: 2 });
    older.session.acknowledge([a!]);
    await backend.pass(200);
    expect(newer.session.inFlight.messages).to.equal(1);
  });

  it('is lost to a poll, and a poll that waits is lost to a connection', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    const { connection } = await one.subscribe();
    const waiting = other.poll({ timeoutMs: 30_000 });
    await settle();
    await settle();
    expect(connection.closes).to.deep.equal(['superseded']);
    await one.subscribe();
    expect(payloadsOf(await waiting)).to.deep.equal([]);
  });

  it('goes on where its journal has lost its end, with all that the connection knows', async () => {
    const instance = anInstance(backend);
    const { session, connection } = await instance.subscribe();
    const ids = await publish('a', 'b');
    session.acknowledge(ids);
    await backend.pass(200);
    const folded = await instance.folded();
    const recorded = await right(backend.store.read(JOURNAL, 0 as never, 100));
    // As after a restart: what was appended last is gone, and the clock has gone on.
    const kept = recorded.slice(0, -1);
    backend.replaceJournal(JOURNAL, kept);
    const [c] = await publish('c');
    session.acknowledge([c!]);
    await backend.pass(200);
    expect(connection.closes).to.deep.equal([]);
    const after = await instance.recorded();
    expect(after.positions.get(aTopic('orders'))?.next.n).to.equal(3);
    expect(after.session).to.equal(folded.state.session);
  });

  it('refuses an older session though its journal has grown to the same length again', async () => {
    const instance = anInstance(backend);
    const { session, connection } = await instance.subscribe();
    const [a] = await publish('a');
    await backend.pass(1_500);
    const recorded = await right(backend.store.read(JOURNAL, 0 as never, 100));
    const events = recorded.map(({ event }) => event);
    backend.replaceJournal(JOURNAL, []);
    await backend.pass(10);
    const foreign = events.map((event) =>
      event.type === 'SessionStarted' ? { ...event, session: 'somebody-else' } : event,
    );
    await right(backend.store.append(JOURNAL, foreign));
    session.acknowledge([a!]);
    await backend.pass(200);
    expect(connection.closes).to.deep.equal(['superseded']);
    const { state } = await instance.folded();
    expect(state).to.deep.equal(replay(subscription, subscription.initialState, foreign));
  });

  it('keeps a subscription that is connected and silent', async () => {
    const instance = anInstance(backend);
    const { connection } = await instance.subscribe();
    await backend.pass(120_000);
    const { session } = await instance.recorded();
    expect(session).to.be.a('string');
    expect(connection.closes).to.deep.equal([]);
    const polling = { clientId: 'tv' };
    for (let i = 0; i < 6; i++) {
      await instance.poll(polling);
      await backend.pass(20_000);
    }
    await publish('a');
    expect(payloadsOf(await instance.poll(polling))).to.deep.equal(['a']);
  });

  it('forgets one that nobody uses any more', async () => {
    const instance = anInstance(backend);
    await instance.poll();
    await backend.pass(60_000);
    expect((await instance.recorded()).isOpen).to.be.false;
  });

  describe('while requests come to the other instance', () => {
    it('knows what the connection was given a moment ago', async () => {
      const [one, other] = [anInstance(backend), anInstance(backend)];
      const { session } = await one.subscribe();
      const ids = await publish('a');
      const answer = right(other.acknowledge(ids));
      await backend.pass(2_000);
      expect((await answer).count).to.equal(1);
      expect(session.inFlight.messages).to.equal(0);
    });

    it('gives the connection room for more', async () => {
      const [one, other] = [anInstance(backend), anInstance(backend)];
      const { connection } = await one.subscribe({ maxInFlight: 1 });
      const ids = await publish('a', 'b');
      await backend.pass(1_500);
      expect((await right(other.acknowledge([ids[0]!]))).count).to.equal(1);
      await settle();
      expect(connection.payloads).to.deep.equal(['a', 'b']);
    });

    it('says of what was never delivered that it is unknown, after having waited for it', async () => {
      const [one, other] = [anInstance(backend), anInstance(backend)];
      await one.subscribe({ maxInFlight: 1 });
      const ids = await publish('a', 'b');
      await backend.pass(1_500);
      const answer = right(other.acknowledge(ids));
      await backend.pass(2_000);
      // The first was acknowledged, so the second came, and came too late for this request.
      expect(await answer).to.deep.include({ count: 1, unknown: [ids[1]] });
    });
  });

  describe('and its patterns', () => {
    it('let go of topics that do not exist any more, but not of those that were named', async () => {
      backend = new Backend({ messagesMs: 2_000, subscriptionMs: 40_000 });
      const instance = anInstance(backend);
      const topics = ['orders.*', 'orders.named'];
      const { session } = await instance.subscribe({ topics });
      for (const topic of ['orders.a', 'orders.b', 'orders.named']) {
        session.acknowledge(await backend.publish(topic, '1'));
      }
      await backend.pass(1_000);
      expect([...(await instance.recorded()).positions.keys()]).to.have.length(3);
      await backend.pass(90_000);
      expect([...(await instance.recorded()).positions.keys()]).to.deep.equal([aTopic('orders.named')]);
      expect((await instance.recorded()).topics).to.deep.equal(topics.map(aPattern));
    });

    it('find a topic again that comes back', async () => {
      backend = new Backend({ messagesMs: 2_000, subscriptionMs: 40_000 });
      const instance = anInstance(backend);
      const { session, connection } = await instance.subscribe({ topics: ['orders.*'] });
      session.acknowledge(await backend.publish('orders.a', '1'));
      await backend.pass(90_000);
      await backend.publish('orders.a', '2');
      await settle();
      expect(connection.payloads).to.deep.equal(['1', '2']);
    });
  });

  it('is found out to be lost when signals come again', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    one.signals.isCut = true;
    const older = await one.subscribe();
    await other.subscribe();
    expect(older.connection.closes).to.deep.equal([]);
    one.signals.mend();
    await settle();
    expect(older.connection.closes).to.deep.equal(['superseded']);
  });

  it('is found out to be lost while it is being opened', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    const release = one.store.hold((call, way) => isCommit(call) && way === 'from');
    const opening = one.subscribe();
    await settle();
    await other.subscribe();
    await settle();
    release();
    const { connection } = await opening;
    await settle();
    expect(connection.closes).to.deep.equal(['superseded']);
  });

  it('sends nothing again that was acknowledged elsewhere, though nobody has told', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    const { session, connection } = await one.subscribe();
    const ids = await publish('a');
    await backend.pass(1_000);
    await right(session.settle({ type: 'Reject', ids, delayMs: 5_000 }));
    one.signals.isCut = true;
    expect((await right(other.acknowledge(ids))).count).to.equal(1);
    await backend.pass(10_000);
    expect(connection.payloads).to.deep.equal(['a']);
  });

  it('takes acknowledgements over though its journal has lost its end', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    const { session, connection } = await one.subscribe({ ackTimeoutMs: 3_000 });
    one.signals.isCut = true;
    const [a] = await publish('a');
    await backend.pass(1_000);
    const [b] = await publish('b');
    session.acknowledge([b!]);
    await backend.pass(200);
    const recorded = await right(backend.store.read(JOURNAL, 0 as never, 100));
    backend.replaceJournal(JOURNAL, recorded.slice(0, -1));
    await backend.pass(10);
    expect((await right(other.acknowledge([a!]))).count).to.equal(1);
    await backend.pass(10_000);
    expect(connection.payloads).to.deep.equal(['a', 'b']);
    const { state } = await one.folded();
    expect(state.positions.get(aTopic('orders'))).to.deep.include({ due: [] });
    expect(state.positions.get(aTopic('orders'))?.next.n).to.equal(2);
  });

  it('sees what a poll was given in front of what is newer', async () => {
    const instance = anInstance(backend);
    await publish('a');
    await instance.poll({ start: EARLIEST });
    await publish('b');
    const { session, connection } = await instance.subscribe();
    expect(connection.deliveries.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
      ['a', 2],
      ['b', 1],
    ]);
    expect(session.inFlight.messages).to.equal(2);
  });

  it('keeps what was acknowledged a moment before a topic is not granted any more', async () => {
    const instance = anInstance(backend);
    const { session } = await instance.subscribe({ topics: ['a', 'b'] });
    session.acknowledge(await backend.publish('a', '1'));
    session.principal = aPrincipal({ subscribe: ['b'] });
    await backend.pass(1_000);
    session.principal = aPrincipal();
    await backend.pass(60_000);
    const position = (await instance.recorded()).positions.get(aTopic('a'));
    expect(position?.next.n).to.equal(1);
    expect(position?.due).to.deep.equal([]);
  });

  it('does not confirm what it could not record at its end', async () => {
    const instance = anInstance(backend);
    const { session } = await instance.subscribe();
    const ids = await publish('a');
    instance.store.fault = (call) => (isCommit(call) ? 'not_stored' : undefined);
    const confirmed = session.settle({ type: 'Acknowledge', ids })();
    await instance.sessions.end(session);
    expect((await confirmed)._tag).to.equal('Left');
  });

  it('holds no request up for another one that waits for a connection elsewhere', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    await one.subscribe();
    const [a] = await publish('a');
    await backend.pass(1_000);
    const foreign = { topic: aTopic('orders'), offset: (a!.offset + 5) as never };
    const stale = Array.from({ length: 20 }, () => right(other.acknowledge([foreign])));
    await settle();
    expect((await right(other.acknowledge([a!]))).count).to.equal(1);
    await backend.pass(2_000);
    for (const { unknown } of await Promise.all(stale)) expect(unknown).to.deep.equal([foreign]);
  });

  it('is not renewed by a commit that has failed', async () => {
    const instance = anInstance(backend);
    await instance.subscribe();
    instance.store.fault = (call) => (isCommit(call) ? 'not_stored' : undefined);
    await backend.pass(15_000);
    instance.store.fault = () => undefined;
    await backend.pass(2_000);
    const { at } = await instance.folded();
    expect(backend.clock.now() - Math.floor(at.offset / 1024)).to.be.lessThan(3_000);
  });

  it('starts where it was, whoever has it', async () => {
    const [one, other] = [anInstance(backend), anInstance(backend)];
    const first = await one.subscribe({ start: EARLIEST });
    const ids = await publish('a', 'b');
    first.session.acknowledge([ids[0]!]);
    await backend.pass(200);
    const second = await other.subscribe();
    expect(second.connection.payloads).to.deep.equal(['b']);
  });
});
