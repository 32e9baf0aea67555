import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import {
  CATALOGUE,
  subscriptionStream,
  topicStream,
  type OnceOutcome,
} from '../../../application/ports/event-store.js';
import { NO_OFFSET, formatOffset, type Offset } from '../../../domain/message/offset.js';
import { describeEventStore } from '../../contracts/event-store.contract.js';
import { aMessage, anIdentity, aTopic, messages, someRetention } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { payloadOf } from '../../support/payload-of.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { left, right } from '../../support/task-either.js';
import { startValkey } from '../../support/valkey-server.js';
import {
  openSharedValkey,
  openValkey,
  openWithDisasters,
  someSettings,
  type OpenedValkey,
} from './open-valkey.js';
import { connectAsAdmin } from './valkey-admin.js';

describeEventStore('ValkeyEventStore', async (retention) => {
  const { valkey, lose, pass } = await openWithDisasters(retention);
  return { store: valkey.store, lose, pass, close: () => valkey.close() };
});

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
      expect(entries[0]).to.deep.equal([formatOffset(plain!.offset), ['n', '1', 'payload', payload]]);
      expect(entries[1]![1].slice(0, 5)).to.deep.equal(['n', '2', 'payload', payload, 'meta']);
      expect(JSON.parse(entries[1]![1][5]!)).to.deep.equal({
        expiresAt: 5,
        key: 'k',
        priority: 0,
        headers: { a: 'b' },
      });
      expect(entries[1]![0]).to.equal(formatOffset(full!.offset));
    });

    it('the id of an entry is the time of Valkey at which it was stored', async () => {
      const [cursor] = await right(opened.store.append(notifications, messages(1)));
      const [seconds] = await admin.time();
      expect(Math.abs(cursor!.offset / 1024 - Number(seconds) * SECOND)).to.be.below(2 * SECOND);
    });

    it('an idempotency key is a text: where the message is and what was asked for, for as long as its window', async () => {
      const once = { key: 'publish:abc', fingerprint: 'some print', windowMs: 300 * SECOND };
      const [outcome] = await right(opened.store.appendOnce(notifications, [{ event: aMessage(), once }]));
      const prefix = opened.names.key(CATALOGUE).replace('topics', '');
      const { offset } = (outcome as Extract<OnceOutcome, { _tag: 'Stored' }>).at;
      expect(await admin.get(`${prefix}idempotency:publish:abc`)).to.equal(`${offset} 1 some print`);
      expect(await admin.pttl(`${prefix}idempotency:publish:abc`)).to.be.within(298 * SECOND, 300 * SECOND);
    });

    it('a loss is its reason under a name of its own', async () => {
      const between = { from: { offset: 1 as Offset, n: 1 }, to: { offset: 5 as Offset, n: 3 } };
      await right(
        opened.store.append(notifications, [
          { type: 'MessagesLost', reason: 'storage_rollback' },
          { type: 'MessagesLost', reason: 'stream_reset', between },
        ]),
      );
      const entries = await admin.xrange(opened.names.key(notifications), '-', '+');
      expect(entries.map(([, fields]) => fields)).to.deep.equal([
        ['n', '1', 'lost', 'storage_rollback'],
        ['n', '2', 'lost', 'stream_reset', 'meta', JSON.stringify(between)],
      ]);
    });

    it('nothing outside of its prefix', async () => {
      const before = new Set(await admin.keys('*'));
      await right(opened.store.append(notifications, messages(1)));
      const once = { key: 'a', fingerprint: 'f', windowMs: SECOND };
      await right(opened.store.appendOnce(notifications, [{ event: aMessage(), once }]));
      await right(opened.store.append(journal, [{ type: 'SessionStarted', session: 'a' }]));
      const prefix = opened.names.key(CATALOGUE).replace('topics', '');
      const created = (await admin.keys('*')).filter((key) => !before.has(key));
      expect(created).to.have.length(4);
      for (const key of created) expect(key.startsWith(prefix)).to.equal(true);
    });
  });

  describe('publishes', () => {
    it('what is stored once exactly as what is appended, and neither duplicates nor losses', async () => {
      const subscriber = connectAsAdmin(await sharedValkey());
      const published: string[] = [];
      subscriber.on('message', (_channel: string, text: string) => published.push(text));
      await subscriber.subscribe(opened.names.channel(notifications));
      const once = { key: 'a', fingerprint: 'f', windowMs: 60 * SECOND };
      const item = { event: aMessage({ payload: '1', key: 'k' }), once };
      await right(
        opened.store.appendOnce(notifications, [item, item, { event: aMessage({ payload: '2' }) }]),
      );
      await right(opened.store.appendOnce(notifications, [item]));
      await right(opened.store.append(notifications, [{ type: 'MessagesLost', reason: 'stream_reset' }]));
      await right(
        opened.store.append(notifications, [
          { type: 'MessagesLost', reason: 'stream_reset' },
          aMessage({ payload: '3' }),
        ]),
      );
      await eventually(() => expect(published).to.have.length(2));
      const records = published
        .flatMap((text) => text.split('\x1e'))
        .map((record) => record.split('\x1f').slice(1));
      expect(records).to.deep.equal([
        ['1', '{"key":"k"}', '1'],
        ['2', '', '2'],
        ['5', '', '3'],
      ]);
      subscriber.disconnect();
    });

    it('to its followers, who read the losses from the stream', async () => {
      const told: string[] = [];
      const following = opened.feed.follow(notifications, (events) =>
        told.push(...events.map(({ event }) => payloadOf(event))),
      );
      await right(following.start);
      await right(opened.store.append(notifications, messages(1)));
      await right(opened.store.append(notifications, [{ type: 'MessagesLost', reason: 'stream_reset' }]));
      await right(opened.store.append(notifications, messages(1, 2)));
      await eventually(() => expect(told).to.deep.equal(['1', 'lost: stream_reset', '2']));
      following.stop();
    });
  });

  describe('appends once or not at all', () => {
    const once = { key: 'a', fingerprint: 'f', windowMs: 60 * SECOND };

    it('remembers nothing of what could not be stored', async () => {
      await admin.set(opened.names.key(notifications), 'not a stream');
      const refused = await left(opened.store.appendOnce(notifications, [{ event: aMessage(), once }]));
      expect(refused).to.include({ outcome: 'not_stored', reason: 'failed' });
      expect(await admin.exists(opened.names.idempotency('a'))).to.equal(0);
      await admin.del(opened.names.key(notifications));
      const [outcome] = await right(opened.store.appendOnce(notifications, [{ event: aMessage(), once }]));
      expect(outcome).to.include({ _tag: 'Stored' });
    });

    it('stores nothing where what lies under the key is not a record of ours', async () => {
      await admin.set(opened.names.idempotency('a'), 'foreign');
      expect(
        await right(opened.store.appendOnce(notifications, [{ event: aMessage(), once }])),
      ).to.deep.equal([{ _tag: 'KeyReused' }]);
      await admin.del(opened.names.idempotency('a'));
      await admin.rpush(opened.names.idempotency('a'), 'foreign');
      const refused = await left(opened.store.appendOnce(notifications, [{ event: aMessage(), once }]));
      expect(refused).to.include({ outcome: 'not_stored', reason: 'failed' });
      expect(await admin.exists(opened.names.key(notifications))).to.equal(0);
    });

    it('to a journal as well, which has no catalogue', async () => {
      const item = { event: { type: 'SessionStarted', session: 'a' } as const, once };
      const [first] = await right(opened.store.appendOnce(journal, [item]));
      expect(first).to.have.nested.property('at.n', 1);
      expect(await right(opened.store.appendOnce(journal, [item]))).to.deep.equal([
        { ...first, _tag: 'Duplicate' },
      ]);
      expect(await admin.exists(opened.names.key(CATALOGUE))).to.equal(0);
    });

    it('also a thousand at once, answered in order', async () => {
      const items = messages(1_000).map((event, i) => ({ event, once: { ...once, key: String(i % 900) } }));
      const outcomes = await right(opened.store.appendOnce(notifications, items));
      expect(outcomes.map(({ _tag }) => _tag)).to.deep.equal(
        items.map((_, i) => (i < 900 ? 'Stored' : 'Duplicate')),
      );
      expect(outcomes[950]).to.have.nested.property('at.n', 51);
    });
  });

  describe('forgets', () => {
    it('a topic that is silent for as long as messages and then subscriptions are kept', async () => {
      await reopen(someRetention({ messagesMs: 100 * SECOND, subscriptionMs: 50 * SECOND }));
      await right(opened.store.append(notifications, messages(1)));
      const key = opened.names.key(notifications);
      expect(await admin.pttl(key)).to.be.within(150 * SECOND, 165 * SECOND);
      await admin.pexpire(key, 5 * SECOND);
      await right(opened.store.append(notifications, messages(1)));
      expect(await admin.pttl(key)).to.be.within(150 * SECOND, 165 * SECOND);
    });

    it('a subscription that is silent for as long as it is kept, and the catalogue never', async () => {
      await reopen(someRetention({ messagesMs: 100 * SECOND, subscriptionMs: 50 * SECOND }));
      await right(opened.store.append(journal, [{ type: 'SessionStarted', session: 'a' }]));
      await right(opened.store.append(notifications, messages(1)));
      expect(await admin.pttl(opened.names.key(journal))).to.be.within(50 * SECOND, 55 * SECOND);
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
      expect(page.map(({ n, event }) => [n, payloadOf(event)])).to.deep.equal([
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

  describe('needs no more of Valkey', () => {
    it('than the documented ACL grants', async () => {
      const server = await startValkey();
      const control = connectAsAdmin(server);
      const [rule] = /(?<=ACL SETUSER ).*/.exec(readFileSync('docs/storage.md', 'utf8')) ?? [];
      const [username, ...grants] = rule!.split(' ');
      const password = grants.find((grant) => grant.startsWith('>'))!.slice(1);
      await control.call('ACL', 'SETUSER', username!, ...grants);
      const own = await openValkey(someSettings(server, { username: username!, password, keyPrefix: '' }));
      const told: number[] = [];
      const following = own.feed.follow(notifications, (events) => told.push(...events.map(({ n }) => n)));
      await right(following.start);
      const once = { key: 'publish:a', fingerprint: 'f', windowMs: 60 * SECOND };
      const [first] = await right(own.store.append(notifications, messages(1)));
      await right(
        own.store.appendOnce(notifications, [{ event: aMessage(), once }], { durability: 'fsync' }),
      );
      await right(
        own.store.appendOnce(notifications, [{ event: aMessage(), once }], { durability: 'fsync' }),
      );
      await right(own.store.append(journal, [{ type: 'SessionStarted', session: 'a' }]));
      await eventually(() => expect(told).to.deep.equal([1, 2]));
      await right(own.store.remove(notifications, [first!.offset]));
      await right(own.store.trim(notifications, first!.offset));
      expect(await right(own.store.read(notifications, NO_OFFSET, 10))).to.have.length(1);
      const ahead = { offset: (first!.offset + 10_000_000) as Offset, n: 9 };
      expect(
        await right(() => own.lost.restore([{ topic: aTopic('notifications'), end: ahead }])),
      ).to.deep.equal([ahead]);
      await own.close();
      await server.kill();
    });
  });

  describe('where an ACL forbids a part of it', () => {
    const once = { key: 'publish:a', fingerprint: 'f', windowMs: 60 * SECOND };

    const asMute = async (run: (own: OpenedValkey) => Promise<void>, ...grants: readonly string[]) => {
      const server = await startValkey();
      const control = connectAsAdmin(server);
      await control.call('ACL', 'SETUSER', 'mute', 'on', '>secret', '~*', '&*', '+@all', ...grants);
      const own = await openValkey(someSettings(server, { username: 'mute', password: 'secret' }));
      await run(own);
      await own.close();
      await server.kill();
    };

    for (const [what, ...grants] of [
      ['to publish to channels', 'resetchannels', '&probe:*'],
      ['to publish', '-publish'],
      ['to let expire', '-pexpire'],
    ] as const) {
      it(`answers as stored what is stored, and stores it once, where it forbids ${what}`, () =>
        asMute(
          async (own) => {
            await right(own.store.append(notifications, messages(1)));
            for (const outcome of ['Stored', 'Duplicate']) {
              const [first] = await right(own.store.appendOnce(notifications, [{ event: aMessage(), once }]));
              expect(first?._tag).to.equal(outcome);
            }
            expect(await right(own.store.read(notifications, NO_OFFSET, 10))).to.have.length(2);
            expect(own.logger.of('valkey_append_incomplete')).to.have.length(1);
          },
          ...grants,
        ));
    }

    it('stores nothing of what it could not remember', () =>
      asMute(async (own) => {
        const refusal = await left(own.store.appendOnce(notifications, [{ event: aMessage(), once }]));
        expect(refusal).to.include({ outcome: 'not_stored' });
        expect(await right(own.store.read(notifications, NO_OFFSET, 10))).to.deep.equal([]);
      }, '-set'));

    it('remembers nothing of what it could not store', () =>
      asMute(async (own) => {
        const item = { event: aMessage(), once };
        expect(await left(own.store.appendOnce(notifications, [item]))).to.include({ outcome: 'not_stored' });
        expect(await own.connection.commands.exists(own.names.idempotency(once.key))).to.equal(0);
      }, '-xadd'));
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
