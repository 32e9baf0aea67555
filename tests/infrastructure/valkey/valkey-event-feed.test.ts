import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import {
  topicStream,
  type EventStore,
  type StoredEvent,
  type Stream,
} from '../../../application/ports/event-store.js';
import { NO_OFFSET, type Recorded } from '../../../domain/message/offset.js';
import { describeEventFeed } from '../../contracts/event-feed.contract.js';
import { aTopic, messages } from '../../support/builders.js';
import { ChaosProxy } from '../../support/chaos-proxy.js';
import { eventually } from '../../support/eventually.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { left, right } from '../../support/task-either.js';
import { startValkey } from '../../support/valkey-server.js';
import { openSharedValkey, openValkey, someSettings, untoldStore, type OpenedValkey } from './open-valkey.js';
import { connectAsAdmin } from './valkey-admin.js';

describeEventFeed('ValkeyEventFeed', () => openSharedValkey());

/** Above the interval of the position check. */
const POSITION_CHECKED_MS = 7_000;

const orders = topicStream(aTopic('orders'));

describe('ValkeyEventFeed', () => {
  let opened: OpenedValkey;
  let admin: Redis;

  beforeEach(async () => {
    opened = await openSharedValkey();
    admin = connectAsAdmin(await sharedValkey());
  });
  afterEach(async () => {
    admin.disconnect();
    await opened.close();
  });

  const follow = async <Event extends StoredEvent>(
    stream: Stream<Event>,
    { feed } = opened,
  ): Promise<readonly Recorded<Event>[]> => {
    const told: Recorded<Event>[] = [];
    await right(feed.follow(stream, (events) => told.push(...events)).start);
    return told;
  };

  const append = (count: number, from = 1, store: EventStore = opened.store) =>
    right(store.append(orders, messages(count, from)));

  const numbers = (told: readonly Recorded<StoredEvent>[]): readonly number[] => told.map(({ n }) => n);

  const expectAllTold = async (told: readonly Recorded<StoredEvent>[], timeoutMs?: number): Promise<void> => {
    const stored = await right(opened.store.read(orders, NO_OFFSET, 100_000));
    await eventually(() => expect(told).to.have.length(stored.length), timeoutMs);
    expect(told).to.deep.equal(stored);
  };

  describe('repairs what pub/sub has lost', () => {
    it('when the next message shows that some are missing, with those in between, in order', async () => {
      const told = await follow(orders);
      await append(2);
      await append(3, 3, untoldStore(opened));
      await append(1, 6);
      await append(1000, 7, untoldStore(opened));
      await append(2, 1007);
      await expectAllTold(told);
      expect(numbers(told)).to.deep.equal(Array.from({ length: 1008 }, (_, i) => i + 1));
    });

    it('when nothing comes afterwards, by looking at the position once in a while', async () => {
      const told = await follow(orders);
      await append(2);
      await append(3, 3, untoldStore(opened));
      await eventually(() => expect(numbers(told)).to.deep.equal([1, 2, 3, 4, 5]), POSITION_CHECKED_MS);
    });

    it('when its connection is cut again and again while many append', async () => {
      const told = await follow(orders);
      const traffic = { isOver: false };
      const cutting = (async () => {
        for (let i = 0; i < 8; i++) {
          await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
          await new Promise((resolve) => setTimeout(resolve, 40));
        }
        traffic.isOver = true;
      })();
      for (let from = 1; !traffic.isOver; from += 10) {
        await append(10, from);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await cutting;
      // At the latest, the next position check finds what was appended between two connections.
      await expectAllTold(told, POSITION_CHECKED_MS);
    });

    it('at once after a reconnect, when nothing else is appended', async () => {
      const told = await follow(orders);
      await append(1);
      await eventually(() => expect(numbers(told)).to.deep.equal([1]));
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await append(3, 2);
      await eventually(() => expect(numbers(told)).to.deep.equal([1, 2, 3, 4]), 3_000);
    });

    it('of hundreds of topics at once', async () => {
      const topics = Array.from({ length: 300 }, (_, i) => topicStream(aTopic(`many.${i}`)));
      const told = await Promise.all(topics.map((topic) => follow(topic)));
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await Promise.all(topics.map((topic) => right(opened.store.append(topic, messages(2)))));
      await eventually(() => told.forEach((each) => expect(numbers(each)).to.deep.equal([1, 2])), 3_000);
    });

    it('subscribes again even where its connection breaks while it is doing so', async () => {
      const told = await follow(orders);
      const { subscriber } = opened.connection;
      for (let i = 0; i < 5; i++) {
        const reconnected = once(subscriber, 'ready');
        await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await reconnected;
        // The answer to SUBSCRIBE cannot have come yet.
        const again = once(subscriber, 'ready');
        opened.connection.reset(subscriber);
        await again;
      }
      await eventually(async () => {
        expect(await admin.pubsub('NUMSUB', opened.names.channel(orders))).to.deep.equal([
          opened.names.channel(orders),
          1,
        ]);
      });
      await append(1);
      await expectAllTold(told, 1_000);
    });
  });

  describe('when the stream itself has lost something', () => {
    /** What a power failure does: the newest entries are gone, with their counts. */
    const loseTail = async (kept: number): Promise<void> => {
      const key = opened.names.key(orders);
      const entries = (await admin.xrange(key, '-', '+')).slice(0, kept);
      const batch = admin.multi().del(key);
      for (const [id, fields] of entries) batch.xadd(key, id, ...fields);
      await batch.exec();
      // A restart takes longer than this. Within the same millisecond, offsets could be given a second time.
      await delay(2);
    };

    it('tells what is appended afterwards, though it is counted from a lower number, and the loss behind it', async () => {
      const told = await follow(orders);
      await append(10);
      await eventually(() => expect(told).to.have.length(10));
      await loseTail(7);
      await append(2, 100);
      await eventually(() => expect(numbers(told).slice(10)).to.deep.equal([8, 9, 11]));
      expect(told[12]?.event).to.deep.include({ type: 'MessagesLost', reason: 'storage_rollback' });
      await append(1, 200);
      await eventually(() => expect(numbers(told).slice(13)).to.deep.equal([12]));
    });

    it('tells what is appended afterwards when nothing is left, and the loss behind it', async () => {
      const told = await follow(orders);
      await append(10);
      await eventually(() => expect(told).to.have.length(10));
      await loseTail(0);
      await append(3, 100);
      await eventually(() => expect(numbers(told).slice(10)).to.deep.equal([1, 2, 3, 11]));
      expect(told[13]?.event).to.deep.include({ type: 'MessagesLost', reason: 'stream_reset' });
    });

    it('misses nothing where the count has caught up while it was not connected', async () => {
      const network = await ChaosProxy.open(await sharedValkey());
      const keyPrefix = opened.names.key(orders).replace('topic:orders', '');
      const own = await openValkey(someSettings(network.place, { keyPrefix, commandTimeoutMs: 300 }));
      const told = await follow(orders, own);
      await append(10);
      await eventually(() => expect(told).to.have.length(10));
      const reconnected = once(own.connection.subscriber, 'ready');
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await loseTail(7);
      await append(3, 100);
      // What it has missed it cannot ask for yet; what comes first on the new connection continues the old count.
      network.silence('pulsar-proxy:reads');
      await reconnected;
      const channel = own.names.channel(orders);
      await eventually(async () => expect(await admin.pubsub('NUMSUB', channel)).to.include(1));
      await append(2, 200);
      await eventually(() => expect(told.length).to.be.at.least(10 + 2));
      await eventually(async () => {
        const stored = await right(opened.store.read(orders, NO_OFFSET, 1000));
        expect(stored.map(({ event }) => event.type)).to.include('MessagesLost');
        expect(told.slice(10)).to.deep.equal(stored.slice(7));
      });
      await own.close();
      await network.close();
    });

    it('goes on after FLUSHALL', async () => {
      const server = await startValkey();
      const own = await openValkey(someSettings(server));
      const told = await follow(orders, own);
      await right(own.store.append(orders, messages(5)));
      await eventually(() => expect(told).to.have.length(5));
      const its = connectAsAdmin(server);
      await its.flushall();
      its.disconnect();
      await right(own.store.append(orders, messages(3, 6)));
      await eventually(() =>
        expect(told.slice(5).map(({ n, event: { type } }) => [n, type])).to.deep.equal([
          [1, 'MessagePublished'],
          [2, 'MessagePublished'],
          [3, 'MessagePublished'],
          [6, 'MessagesLost'],
        ]),
      );
      await own.close();
      await server.kill();
    });
  });

  describe('is not led astray by others', () => {
    it('where the key of one topic holds something else, the others go on', async () => {
      const invoices = topicStream(aTopic('invoices'));
      const told: number[] = [];
      const followings = [
        opened.feed.follow(invoices, () => undefined),
        opened.feed.follow(orders, (events) => told.push(...events.map(({ n }) => n))),
      ];
      await right(opened.store.append(invoices, messages(1)));
      for (const following of followings) await right(following.start);
      await right(opened.store.append(orders, messages(1)));
      await opened.connection.commands.set(opened.names.key(invoices), 'somebody else has put this here');
      const { subscriber } = opened.connection;
      const isBack = once(subscriber, 'ready');
      opened.connection.reset(subscriber);
      await isBack;
      await right(opened.store.append(orders, messages(1, 2)));
      await eventually(() => expect(told).to.deep.equal([1, 2]));
      expect(opened.logger.of('feed_check_failed')).not.to.be.empty;
      for (const following of followings) following.stop();
    });

    it('skips an entry that somebody else has added to the stream', async () => {
      const told = await follow(orders);
      const key = opened.names.key(orders);
      await append(1);
      await admin.xadd(key, '*', 'payload', '"without a number"');
      await admin.xadd(key, '*', 'n', '3', 'something', 'else');
      await append(2, 2);
      await eventually(() => expect(numbers(told)).to.deep.equal([1, 4, 5]));
    });

    it('does not ask again and again for an entry at the end that is not ours', async () => {
      const told = await follow(orders);
      await append(1);
      await admin.xadd(opened.names.key(orders), '*', 'foreign', '1');
      const foreign = () => opened.logger.of('valkey_foreign_entry').length;
      // A reconnect is followed by a check, which is sooner than waiting for the next one.
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await eventually(() => expect(foreign()).to.equal(1), 3_000);
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await append(1, 2);
      await eventually(() => expect(numbers(told)).to.deep.equal([1, 3]), 3_000);
      expect(foreign()).to.equal(1);
    });

    it('tells nothing of what is only published, and goes on', async () => {
      const told = await follow(orders);
      await append(1);
      const channel = opened.names.channel(orders);
      const separated = (...fields: readonly (string | number)[]) => fields.join('\u001f');
      for (const text of [
        '',
        'x',
        '1',
        '\u001e',
        '\u001f',
        '\u001f\u001f\u001f',
        separated('', '', '', '"x"'),
        separated('x', 2, '', '"x"'),
        separated(2 ** 60, 2, '', '"x"'),
        separated(Date.now() * 1024, 'x', '', '"x"'),
        separated(Date.now() * 1024, 2.5, '', '"x"'),
        separated(Date.now() * 1024, 2, 'no json', '"x"'),
        separated(Date.now() * 1024, 2),
      ]) {
        await admin.publish(channel, text);
      }
      await append(1, 2);
      await eventually(() => expect(told.length).to.be.at.least(2));
      await expectAllTold(told);
    });

    it('hears nothing of the same topic in another database', async () => {
      const keyPrefix = opened.names.key(orders).replace('topic:orders', '');
      const elsewhere = await openSharedValkey(undefined, { keyPrefix, db: 1 });
      const told = await follow(orders);
      const toldElsewhere = await follow(orders, elsewhere);
      await append(2, 1, elsewhere.store);
      await append(1);
      await eventually(() => expect(numbers(told)).to.deep.equal([1]));
      await eventually(() => expect(numbers(toldElsewhere)).to.deep.equal([1, 2]));
      await elsewhere.close();
    });
  });

  describe('while Valkey is out of reach', () => {
    it('answers that it cannot follow; afterwards it can, and goes on with what it followed', async () => {
      const server = await startValkey();
      const own = await openValkey(someSettings(server));
      const told = await follow(orders, own);
      await right(own.store.append(orders, messages(2)));
      await eventually(() => expect(numbers(told)).to.deep.equal([1, 2]));
      await server.kill();
      await eventually(() => expect(own.connection.subscriber.status).not.to.equal('ready'));

      const refused = own.feed.follow(topicStream(aTopic('new')), () => undefined);
      expect(await left(refused.start)).to.include({ _tag: 'StoreUnavailable', outcome: 'not_stored' });
      refused.stop();

      await server.restart();
      await eventually(() => right(own.store.append(orders, messages(1, 3))));
      await eventually(() => expect(numbers(told)).to.deep.equal([1, 2, 3]));
      await eventually(() => follow(topicStream(aTopic('new')), own));
      await own.close();
      await server.kill();
    });
  });

  it('is subscribed to what somebody follows, once, and to nothing else', async () => {
    const channel = opened.names.channel(orders);
    const followings = [1, 2, 3].map(() => opened.feed.follow(orders, () => undefined));
    await Promise.all(followings.map(({ start }) => right(start)));
    expect(await admin.pubsub('NUMSUB', channel)).to.deep.equal([channel, 1]);
    for (const following of followings) following.stop();
    await eventually(async () => expect(await admin.pubsub('NUMSUB', channel)).to.deep.equal([channel, 0]));
  });
});
