import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { CATALOGUE, topicStream } from '../../../application/ports/event-store.js';
import { NO_OFFSET, type Recorded } from '../../../domain/message/offset.js';
import type { CatalogueEvent } from '../../../domain/topic/topic-events.js';
import { SystemClock } from '../../../infrastructure/system/system-clock.js';
import { CatalogueSweep } from '../../../infrastructure/valkey/catalogue-sweep.js';
import { ValkeyEventStore } from '../../../infrastructure/valkey/valkey-event-store.js';
import { aTopic, messages, someRetention } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { right } from '../../support/task-either.js';
import { startValkey } from '../../support/valkey-server.js';
import { openSharedValkey, openValkey, someSettings, type OpenedValkey } from './open-valkey.js';
import { connectAsAdmin } from './valkey-admin.js';

/** Above the interval of the feed's position check. */
const POSITION_CHECKED_MS = 7_000;

/** Short in real time too: it is how long Valkey keeps the mark of the last sweep. */
const INTERVAL_MS = 1;

const MESSAGES_MS = 3_600_000;

/** Topics that are written to with this are gone a moment later. */
const BRIEF = someRetention({ messagesMs: 1, subscriptionMs: 1 });

const named = (prefix: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

describe('CatalogueSweep', () => {
  let opened: OpenedValkey;
  /** Another instance on the same keys, for topics that expire. */
  let brief: OpenedValkey;
  let admin: Redis;
  let clock: ManualClock;
  let sweep: CatalogueSweep;

  beforeEach(async () => {
    opened = await openSharedValkey();
    brief = await openSharedValkey(BRIEF, { keyPrefix: catalogue().replace('topics', '') });
    admin = connectAsAdmin(await sharedValkey());
    clock = new ManualClock();
    sweep = sweepOf(opened);
  });
  afterEach(async () => {
    sweep.close();
    admin.disconnect();
    await brief.close();
    await opened.close();
  });

  const sweepOf = (
    { connection, names, logger }: OpenedValkey,
    intervalMs = INTERVAL_MS,
    at = clock,
  ): CatalogueSweep => new CatalogueSweep(connection, names, at, logger, intervalMs, MESSAGES_MS);

  const publish = (topics: readonly string[], { store } = opened) =>
    Promise.all(topics.map((topic) => right(store.append(topicStream(aTopic(topic)), messages(1)))));

  /** Publishes to these and waits until they have expired. */
  const publishBriefly = async (topics: readonly string[], by = brief): Promise<void> => {
    await publish(topics, by);
    const keys = topics.map((topic) => opened.names.key(topicStream(aTopic(topic))));
    await eventually(async () => expect(await admin.exists(...keys)).to.equal(0));
  };

  const catalogue = (): string => opened.names.key(CATALOGUE);

  const entries = async (): Promise<readonly string[]> =>
    (await right(opened.store.read(CATALOGUE, NO_OFFSET, 100_000))).map(({ event }) => event.topic);

  /** Lets sweeps begin until one of them has found its turn and come to its end. */
  const swept = async (by = opened): Promise<void> => {
    const before = by.logger.of('catalogue_swept').length;
    await eventually(() => {
      clock.advance(INTERVAL_MS);
      expect(by.logger.of('catalogue_swept').length).to.be.above(before);
    });
  };

  it('takes out the topics that do not exist any more, and no other', async () => {
    await publish(['orders']);
    await publishBriefly(['users']);
    await publish(['invoices']);
    await swept();
    expect(await entries()).to.have.members(['orders', 'invoices']);
    await swept();
    expect(await entries()).to.have.members(['orders', 'invoices']);
  });

  it('keeps the newest entry of a topic that has come back', async () => {
    for (let i = 0; i < 3; i++) {
      await publishBriefly(['orders']);
      await publish([`other${i}`]);
    }
    await publish(['orders', 'another']);
    const newest = (await admin.xrevrange(catalogue(), '+', '-')).find(([, fields]) =>
      fields[3]?.includes('"orders"'),
    );
    await swept();
    expect(await entries()).to.have.members(['orders', 'other0', 'other1', 'other2', 'another']);
    expect((await admin.xrange(catalogue(), '-', '+')).map(([id]) => id)).to.include(newest?.[0]);
  });

  it('goes through more topics than fit in a page', async () => {
    const [stay, go] = [named('stay', 1_200), named('go', 1_200)];
    // Mixed, so that every page has some of both.
    for (let i = 0; i < stay.length; i += 100) {
      await Promise.all([publish(stay.slice(i, i + 100)), publishBriefly(go.slice(i, i + 100))]);
    }
    await publish(go.slice(0, 5));
    await swept();
    expect((await entries()).toSorted()).to.deep.equal([...stay, ...go.slice(0, 5)].toSorted());
  });

  it('empties the catalogue of an installation in which nothing is left, and its count goes on', async () => {
    await publishBriefly(named('t', 30));
    await swept();
    expect(await admin.xlen(catalogue())).to.equal(0);
    await publish(['again']);
    const [first] = await right(opened.store.read(CATALOGUE, NO_OFFSET, 10));
    expect([first?.n, first?.event.topic]).to.deep.equal([31, 'again']);
  });

  it('loses no topic that comes back while it runs', async () => {
    const running = new CatalogueSweep(
      opened.connection,
      opened.names,
      new SystemClock(),
      opened.logger,
      INTERVAL_MS,
      MESSAGES_MS,
    );
    const topics = named('t', 40);
    for (let round = 0; round < 40 || opened.logger.of('catalogue_swept').length < 5; round++) {
      await publish(topics);
      // Sooner gone, and sooner back, than anything that expires.
      const gone = topics.filter((_, i) => (i + round) % 3 > 0);
      await admin.del(...gone.map((topic) => opened.names.key(topicStream(aTopic(topic)))));
    }
    await publish(topics);
    running.close();
    // The last one may have begun before they all were back.
    await eventually(async () => {
      await swept();
      expect((await entries()).toSorted()).to.deep.equal(topics.toSorted());
    });
  });

  it('is done by one instance in each interval, though all of them try', async () => {
    sweep.close();
    const keyPrefix = catalogue().replace('topics', '');
    const others = await Promise.all([1, 2].map(() => openSharedValkey(undefined, { keyPrefix })));
    const all = [opened, ...others];
    // So long that the mark of this sweep outlives the test.
    const sweeps = all.map((each) => sweepOf(each, 600_000));
    await publish(['orders']);
    await publishBriefly(['users']);
    for (let i = 0; i < 2; i++) {
      clock.advance(600_000);
      // Each sets its timer anew when it is through.
      await eventually(() => expect(clock.waiting).to.equal(all.length));
    }
    expect(all.flatMap(({ logger }) => logger.of('catalogue_swept'))).to.deep.equal([{ entries: 1 }]);
    expect(await entries()).to.deep.equal(['orders']);
    expect(await admin.pttl(`${catalogue()}:sweep`)).to.be.within(1, 600_000);
    for (const each of sweeps) each.close();
    for (const each of others) await each.close();
  });

  it('forgets messages that are too old, to the last one, though nobody writes to their topic', async () => {
    await publish(['quiet', 'busy']);
    const old = topicStream(aTopic('quiet'));
    const { last } = await right(opened.store.bounds(old));
    await eventually(async () => {
      const [seconds] = await admin.time();
      expect(Number(seconds)).to.be.above(Math.floor(last.offset / 1024 / 1000) + 1);
    });
    await publish(['busy']);
    sweep.close();
    const { connection, names, logger } = opened;
    sweep = new CatalogueSweep(connection, names, clock, logger, INTERVAL_MS, 1_000);
    clock.advance(INTERVAL_MS);
    await eventually(async () => {
      expect(await right(opened.store.read(old, NO_OFFSET, 10))).to.deep.equal([]);
      expect(await right(opened.store.read(topicStream(aTopic('busy')), NO_OFFSET, 10))).to.have.length(1);
    });
    // The topic is still there, and still knows how far it had come.
    expect((await right(opened.store.bounds(old))).last).to.deep.equal(last);
  });

  it('leaves alone what is not ours', async () => {
    await admin.xadd(catalogue(), '*', 'something', 'else');
    await admin.xadd(catalogue(), '*', 'event', '{"type":"TopicCreated"}');
    await publish(['orders']);
    await publishBriefly(['users']);
    await swept();
    expect(await entries()).to.deep.equal(['orders']);
    expect(await admin.xlen(catalogue())).to.equal(3);
  });

  it('goes on when Valkey is back', async () => {
    const server = await startValkey();
    const own = await openValkey(someSettings(server), BRIEF);
    const ownSweep = sweepOf(own);
    await publish(['orders'], own);
    await server.kill();
    await eventually(() => expect(own.connection.reads.status).not.to.equal('ready'));
    clock.advance(INTERVAL_MS);
    await server.restart();
    await eventually(() => expect(own.connection.reads.status).to.equal('ready'));
    const its = connectAsAdmin(server);
    await swept(own);
    expect(await its.xlen(own.names.key(CATALOGUE))).to.equal(0);
    its.disconnect();
    ownSweep.close();
    await own.close();
    await server.kill();
  });

  it('says where it fails, and tries again', async () => {
    await admin.set(catalogue(), 'not a stream');
    await eventually(() => {
      clock.advance(INTERVAL_MS);
      expect(opened.logger.of('catalogue_sweep_failed')).not.to.deep.equal([]);
    });
    await admin.del(catalogue());
    await publishBriefly(['orders']);
    await swept();
    expect(await entries()).to.deep.equal([]);
  });

  it('leaves no timer behind when it is closed, even in the middle', async () => {
    await publish(['orders']);
    expect(clock.waiting).to.equal(1);
    clock.advance(INTERVAL_MS);
    sweep.close();
    await eventually(() => expect(opened.logger.of('catalogue_swept')).to.have.length(1));
    expect(clock.waiting).to.equal(0);
  });

  describe('leaves holes, over which the feed', () => {
    const follow = async (): Promise<readonly Recorded<CatalogueEvent>[]> => {
      const told: Recorded<CatalogueEvent>[] = [];
      await right(opened.feed.follow(CATALOGUE, (events) => told.push(...events)).start);
      return told;
    };

    const topicsOf = (told: readonly Recorded<CatalogueEvent>[]): readonly string[] =>
      told.map(({ event }) => event.topic);

    /** Stores as always and tells nobody: what happens to a message that pub/sub loses. */
    const untold = (by: OpenedValkey, retention = someRetention()): OpenedValkey => {
      const names = { ...by.names, channel: () => 'nobody-listens-here' };
      return { ...by, store: new ValkeyEventStore(by.connection, names, retention, by.lost, by.logger) };
    };

    it('tells what comes afterwards', async () => {
      const told = await follow();
      await publish(['a']);
      await publishBriefly(['b', 'c']);
      await swept();
      await publish(['d']);
      await eventually(() => expect(topicsOf(told)).to.deep.equal(['a', 'b', 'c', 'd']));
    });

    it('tells what is there of what it has missed, and then what comes', async () => {
      const told = await follow();
      await publish(['a']);
      await publishBriefly(['b'], untold(brief, BRIEF));
      await publish(['c'], untold(opened));
      await publishBriefly(['d'], untold(brief, BRIEF));
      await swept();
      await publish(['e']);
      await eventually(() => expect(topicsOf(told)).to.deep.equal(['a', 'c', 'e']));
      expect(told.map(({ n }) => n)).to.deep.equal([1, 3, 5]);
      await publish(['f']);
      await eventually(() => expect(topicsOf(told)).to.deep.equal(['a', 'c', 'e', 'f']));
    });

    it('goes on where all that it has missed is gone, without anything coming', async () => {
      const told = await follow();
      await publishBriefly(['a']);
      await publishBriefly(['b', 'c'], untold(brief, BRIEF));
      await swept();
      // The end of the stream is above the last event told, and nothing is there to be read.
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await eventually(async () => {
        const channel = opened.names.channel(CATALOGUE);
        expect(await admin.pubsub('NUMSUB', channel)).to.deep.equal([channel, 1]);
      }, POSITION_CHECKED_MS);
      await publish(['d', 'b']);
      await eventually(() => expect(topicsOf(told)).to.have.members(['a', 'd', 'b']), POSITION_CHECKED_MS);
    });

    it('begins at the end of an empty catalogue', async () => {
      await publishBriefly(['a', 'b']);
      await swept();
      const told = await follow();
      await publish(['c']);
      await eventually(() => expect(told.map(({ n }) => n)).to.deep.equal([3]));
      await publish(['d']);
      await eventually(() => expect(topicsOf(told)).to.deep.equal(['c', 'd']));
    });
  });
});
