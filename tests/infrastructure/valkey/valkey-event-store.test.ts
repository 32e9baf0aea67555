import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { CATALOGUE, subscriptionStream, topicStream } from '../../../application/ports/event-store.js';
import { NO_OFFSET, type Offset } from '../../../domain/message/offset.js';
import { describeEventStore } from '../../contracts/event-store.contract.js';
import { aMessage, anIdentity, aTopic, messages, someRetention } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { left, right } from '../../support/task-either.js';
import { startValkey } from '../../support/valkey-server.js';
import { openSharedValkey, openValkey, someSettings, type OpenedValkey } from './open-valkey.js';
import { connectAsAdmin } from './valkey-admin.js';

describeEventStore('ValkeyEventStore', (retention) => openSharedValkey(retention));

describe('ValkeyEventStore', () => {
  const notifications = topicStream(aTopic('notifications'));
  const journal = subscriptionStream(anIdentity());
  const SECOND = 1_000;
  let opened: OpenedValkey;
  let admin: Redis;

  const reopen = async (retention = someRetention()): Promise<void> => {
    await opened.close();
    opened = await openSharedValkey(retention);
  };

  beforeEach(async () => {
    opened = await openSharedValkey();
    admin = connectAsAdmin(await sharedValkey());
  });
  afterEach(async () => {
    admin.disconnect();
    await opened.close();
  });

  describe('stores what an operator can read', () => {
    it('a topic is the stream topic:<name>, of the length that XLEN says', async () => {
      await right(opened.store.append(notifications, messages(3)));
      const prefix = opened.names.key(notifications).replace('topic:notifications', '');
      expect(await admin.xlen(`${prefix}topic:notifications`)).to.equal(3);
      expect(await admin.type(`${prefix}topics`)).to.equal('stream');
    });

    it('an entry is the payload under its name, a number, and only where there is more, meta', async () => {
      const payload = '{"user_id": 123}';
      const [plain, full] = await right(
        opened.store.append(notifications, [
          aMessage({ payload }),
          aMessage({ payload, key: 'k', priority: 0, headers: { a: 'b' }, expiresAt: 5 }),
        ]),
      );
      const entries = await admin.xrange(opened.names.key(notifications), '-', '+');
      expect(entries[0]).to.deep.equal([
        `${Math.floor(plain!.offset / 1024)}-0`,
        ['n', '1', 'payload', payload],
      ]);
      expect(entries[1]![1].slice(0, 5)).to.deep.equal(['n', '2', 'payload', payload, 'meta']);
      expect(JSON.parse(entries[1]![1][5]!)).to.deep.equal({
        expiresAt: 5,
        key: 'k',
        priority: 0,
        headers: { a: 'b' },
      });
      expect(entries[1]![0]).to.equal(`${Math.floor(full!.offset / 1024)}-1`);
    });

    it('the id of an entry is the time of Valkey at which it was stored', async () => {
      const [cursor] = await right(opened.store.append(notifications, messages(1)));
      const [seconds] = await admin.time();
      expect(Math.abs(cursor!.offset / 1024 - Number(seconds) * SECOND)).to.be.below(2 * SECOND);
    });

    it('nothing outside of its prefix', async () => {
      const before = new Set(await admin.keys('*'));
      await right(opened.store.append(notifications, messages(1)));
      await right(opened.store.append(journal, [{ type: 'SessionStarted', session: 'a' }]));
      const prefix = opened.names.key(CATALOGUE).replace('topics', '');
      const created = (await admin.keys('*')).filter((key) => !before.has(key));
      expect(created).to.have.length(3);
      for (const key of created) expect(key.startsWith(prefix)).to.equal(true);
    });
  });

  describe('forgets', () => {
    it('a topic that is silent for as long as messages and then subscriptions are kept', async () => {
      await reopen(someRetention({ messagesMs: 100 * SECOND, subscriptionMs: 50 * SECOND }));
      await right(opened.store.append(notifications, messages(1)));
      const key = opened.names.key(notifications);
      expect(await admin.pttl(key)).to.be.within(148 * SECOND, 150 * SECOND);
      await admin.pexpire(key, 5 * SECOND);
      await right(opened.store.append(notifications, messages(1)));
      expect(await admin.pttl(key)).to.be.within(148 * SECOND, 150 * SECOND);
    });

    it('a subscription that is silent for as long as it is kept, and the catalogue never', async () => {
      await reopen(someRetention({ messagesMs: 100 * SECOND, subscriptionMs: 50 * SECOND }));
      await right(opened.store.append(journal, [{ type: 'SessionStarted', session: 'a' }]));
      await right(opened.store.append(notifications, messages(1)));
      expect(await admin.pttl(opened.names.key(journal))).to.be.within(48 * SECOND, 50 * SECOND);
      expect(await admin.pttl(opened.names.key(CATALOGUE))).to.equal(-1);
    });

    it('messages that are too old, in whole blocks, when others are stored', async () => {
      await reopen(someRetention({ messagesMs: 60 * SECOND }));
      const key = opened.names.key(notifications);
      const longAgo = Date.now() - 120 * SECOND;
      for (let i = 0; i < 300; i++) await admin.xadd(key, `${longAgo}-${i}`, 'n', i + 1, 'payload', '"old"');
      await right(opened.store.append(notifications, messages(200)));
      const kept = await right(opened.store.read(notifications, NO_OFFSET, 1000));
      expect(kept.length).to.be.within(200, 200 + 100);
      expect(kept[kept.length - 1]).to.include({ n: 500 });
    });

    it('a topic, and begins it again with higher offsets and a new entry in the catalogue', async () => {
      const [before] = await right(opened.store.append(notifications, messages(1)));
      await admin.del(opened.names.key(notifications));
      // Offsets are time, to the millisecond; nothing else is left to tell them apart.
      await new Promise((resolve) => setTimeout(resolve, 2));
      const [after] = await right(opened.store.append(notifications, messages(1)));
      expect(after!.n).to.equal(1);
      expect(after!.offset).to.be.above(before!.offset);
      expect(await right(opened.store.read(CATALOGUE, NO_OFFSET, 10))).to.have.length(2);
    });
  });

  describe('keeps offsets growing', () => {
    it('where the newest entry is ahead of the clock', async () => {
      const ahead = Date.now() + 3600 * SECOND;
      await admin.xadd(opened.names.key(notifications), `${ahead}-1023`, 'n', 1, 'payload', '1');
      const cursors = await right(opened.store.append(notifications, messages(2)));
      expect(cursors).to.deep.equal([
        { offset: (ahead + 1) * 1024, n: 2 },
        { offset: (ahead + 1) * 1024 + 1, n: 3 },
      ]);
      const read = await right(opened.store.read(notifications, NO_OFFSET, 10));
      expect(read.map(({ offset, n }) => ({ offset, n })).slice(1)).to.deep.equal(cursors);
    });
  });

  describe('lives with entries that somebody else has added', () => {
    it('skips them, even a whole page of them, and says so in the log', async () => {
      const key = opened.names.key(notifications);
      const [first] = await right(opened.store.append(notifications, messages(1)));
      for (let i = 0; i < 25; i++) await admin.xadd(key, '*', 'foreign', i);
      await right(opened.store.append(notifications, messages(2, 2)));
      const page = await right(opened.store.read(notifications, first!.offset, 10));
      expect(page.map(({ n, event }) => [n, event.payload])).to.deep.equal([
        [27, '2'],
        [28, '3'],
      ]);
      expect(opened.logger.of('valkey_foreign_entry')).to.have.length(25);
    });

    it('answers nothing where there are only such, and ends', async () => {
      for (let i = 0; i < 30; i++) await admin.xadd(opened.names.key(notifications), '*', 'foreign', i);
      expect(await right(opened.store.read(notifications, NO_OFFSET, 10))).to.deep.equal([]);
    });

    it('knows the bounds of a stream that begins with one', async () => {
      const key = opened.names.key(notifications);
      await admin.xadd(key, '1-1', 'foreign', 1);
      await admin.xadd(key, '2-1', 'foreign', 2);
      await right(opened.store.append(notifications, messages(1)));
      expect((await right(opened.store.bounds(notifications))).first).to.deep.equal({ offset: 1024, n: 0 });
      await right(opened.store.trim(notifications, (2 * 1024) as Offset));
      expect((await right(opened.store.bounds(notifications))).first).to.deep.equal({
        offset: 2 * 1024,
        n: 1,
      });
    });
  });

  describe('while Valkey is out of reach', () => {
    it('refuses to read at once, and in time when it is frozen; goes on by itself afterwards', async () => {
      const server = await startValkey();
      const own = await openValkey(someSettings(server, { commandTimeoutMs: 300 }));
      await right(own.store.append(notifications, messages(1)));
      server.freeze();
      const began = performance.now();
      const refusals = await Promise.all([
        left(own.store.read(notifications, NO_OFFSET, 10)),
        left(own.store.bounds(notifications)),
        left(own.store.trim(notifications, NO_OFFSET)),
      ]);
      expect(performance.now() - began).to.be.below(600);
      // Those that come after the first have been cut off with it.
      for (const { reason } of refusals) expect(reason).to.be.oneOf(['timeout', 'disconnected']);
      expect(await left(own.store.bounds(notifications))).to.include({ reason: 'disconnected' });
      server.thaw();
      await eventually(() => right(own.store.bounds(notifications)));

      await server.kill();
      await eventually(() => expect(own.connection.reads.status).not.to.equal('ready'));
      const refused = await left(own.store.read(notifications, NO_OFFSET, 10));
      expect(refused).to.include({ outcome: 'not_stored', reason: 'disconnected' });
      await server.restart();
      await eventually(async () => {
        expect(await right(own.store.read(notifications, NO_OFFSET, 10))).to.have.length(1);
      });
      await own.close();
      await server.kill();
    });
  });
});
