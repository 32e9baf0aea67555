import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { topicStream } from '../../../application/ports/event-store.js';
import { ValkeyConnection } from '../../../infrastructure/valkey/valkey-connection.js';
import { aTopic, messages } from '../../support/builders.js';
import { ChaosProxy } from '../../support/chaos-proxy.js';
import { eventually } from '../../support/eventually.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { right } from '../../support/task-either.js';
import { startValkey, type ValkeyServer } from '../../support/valkey-server.js';
import {
  openSharedValkey,
  openValkey,
  RecordingLogger,
  someSettings,
  type OpenedValkey,
} from './open-valkey.js';
import { clientIds, commandCalls, connectAsAdmin, infoNumber } from './valkey-admin.js';

const orders = topicStream(aTopic('orders'));

/** a configuration that loses messages is found out within this time. */
const INSPECTED_MS = 10_000;

describe('ValkeyConnection', () => {
  describe('looks at how Valkey is configured', () => {
    it('and has no problem with one that keeps what it is given', async () => {
      const opened = await openSharedValkey();
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
      expect(opened.logger.of('valkey_unsafe')).to.deep.equal([]);
      await opened.close();
    });

    describe('which evicts and keeps no log', () => {
      let server: ValkeyServer;

      before(async () => {
        server = await startValkey(['--maxmemory-policy', 'allkeys-lru', '--appendonly', 'no']);
      });
      after(() => server.kill());

      it('and is not ready, and says why in the log', async () => {
        const opened = await openValkey(someSettings(server));
        await eventually(() => expect(opened.logger.of('valkey_unsafe')).to.have.length(2));
        const problems = await opened.connection.problems();
        expect(problems).to.have.length(2);
        expect(problems[0]).to.include('allkeys-lru').and.include('noeviction');
        expect(problems[1]).to.include('appendonly');
        await opened.close();
      });

      it('and is never ready before it has looked', async () => {
        const connection = new ValkeyConnection(someSettings(server), new RecordingLogger());
        const seen: (readonly string[])[] = [];
        await eventually(async () => {
          seen.push(await connection.problems());
          expect(seen[seen.length - 1]).to.have.length(2);
        });
        expect(seen.filter((problems) => problems.length === 0)).to.deep.equal([]);
        connection.close();
      });

      it('and is ready all the same where that is allowed', async () => {
        const opened = await openValkey(someSettings(server, { allowUnsafe: true }));
        await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
        await opened.close();
      });

      it('each time it connects, since it may be another Valkey now', async () => {
        const opened = await openValkey(someSettings(server));
        await eventually(() => expect(opened.logger.of('valkey_unsafe')).to.have.length(2));
        const admin = connectAsAdmin(server);
        await admin.config('SET', 'maxmemory-policy', 'noeviction');
        await admin.call('CLIENT', 'KILL', 'TYPE', 'normal');
        await eventually(async () => {
          const problems = await opened.connection.problems();
          expect(problems).to.have.length(1);
          expect(problems[0]).to.include('appendonly');
        });
        await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
        admin.disconnect();
        await opened.close();
      });
    });

    describe('while it is connected', () => {
      let server: ValkeyServer;
      let opened: OpenedValkey;
      let admin: Redis;

      beforeEach(async () => {
        server = await startValkey();
        admin = connectAsAdmin(server);
        opened = await openValkey(someSettings(server));
        await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
      });
      afterEach(async () => {
        admin.disconnect();
        await opened.close();
        await server.kill();
      });

      const problems = (count: number): Promise<readonly string[]> => {
        let seen: readonly string[] = [];
        return eventually(async () => {
          seen = await opened.connection.problems();
          expect(seen).to.have.length(count);
        }, INSPECTED_MS).then(() => seen);
      };

      /** Until Valkey was looked at `count` times more. */
      const looks = async (count: number): Promise<void> => {
        const before = await commandCalls(admin, 'info');
        // To ask for it is an INFO too, each time.
        let asked = 0;
        await eventually(async () => {
          asked += 1;
          expect((await commandCalls(admin, 'info')) - asked).to.be.at.least(before + count);
        }, INSPECTED_MS * count);
      };

      it('and is not ready as soon as it would evict, says so once, and is ready again afterwards', async () => {
        await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
        expect((await problems(1))[0]).to.include('allkeys-lru');
        await looks(1);
        expect(opened.logger.of('valkey_unsafe')).to.have.length(1);
        await admin.config('SET', 'maxmemory-policy', 'noeviction');
        await problems(0);
        expect(opened.logger.of('valkey_safe_again')).to.have.length(1);
        expect(opened.logger.of('valkey_unsafe')).to.have.length(1);
      }).timeout(60_000);

      it('and knows whether there is a log that could be synced', async () => {
        expect(opened.connection.logsToDisk).to.equal(true);
        await admin.config('SET', 'appendonly', 'no');
        expect((await problems(1))[0]).to.include('appendonly');
        expect(opened.connection.logsToDisk).to.equal(false);
        await admin.config('SET', 'appendonly', 'yes');
        await problems(0);
        expect(opened.connection.logsToDisk).to.equal(true);
      }).timeout(30_000);

      it('and has a problem once keys were evicted, as long as more could be', async () => {
        const usedBytes = await infoNumber(admin, 'used_memory');
        await admin.config('SET', 'maxmemory-policy', 'allkeys-random');
        await problems(1);
        await admin.config('SET', 'maxmemory', String(usedBytes + 2_000_000));
        for (let i = 0; i < 60; i++) await admin.set(`filler:${i}`, 'x'.repeat(100_000));
        expect(await infoNumber(admin, 'evicted_keys')).to.be.above(0);
        const [policy, evicted] = await problems(2);
        expect(policy).to.include('allkeys-random');
        expect(evicted).to.include('evicted keys');
        await admin.config('SET', 'maxmemory-policy', 'noeviction');
        await admin.config('SET', 'maxmemory', '0');
        await problems(0);
      }).timeout(40_000);
    });

    describe('as a user who may not see it', () => {
      let server: ValkeyServer;

      before(async () => {
        server = await startValkey();
        const admin = connectAsAdmin(server);
        await admin.call('ACL', 'SETUSER', 'pulsar', 'on', '>secret', '~*', '&*', '+@all', '-info');
        admin.disconnect();
      });
      after(() => server.kill());

      const open = (allowUnsafe: boolean): Promise<OpenedValkey> =>
        openValkey(someSettings(server, { username: 'pulsar', password: 'secret', allowUnsafe }));

      it('and is not ready, because it cannot be checked', async () => {
        const opened = await open(false);
        await eventually(async () => {
          const problems = await opened.connection.problems();
          expect(problems).to.have.length(1);
          expect(problems[0]).to.include('cannot be checked').and.include('info');
        });
        expect(opened.connection.logsToDisk).to.equal(true);
        await opened.close();
      });

      it('and is ready where whoever configures us says that it is all right', async () => {
        const opened = await open(true);
        await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
        await eventually(() => expect(opened.logger.of('valkey_unsafe')).to.have.length(1));
        await opened.close();
      });
    });
  });

  describe('has a connection for appends that wait for the disk', () => {
    let server: ValkeyServer;
    let opened: OpenedValkey;

    beforeEach(async () => {
      server = await startValkey();
      opened = await openValkey(someSettings(server, { commandTimeoutMs: 500 }));
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
    });
    afterEach(async () => {
      await opened.close();
      await server.kill();
    });

    it('which may wait for as long as a command may take, and still gets its answer', async () => {
      // Replicas that do not exist are waited for until the time is over.
      expect(await opened.connection.durable.call('WAITAOF', 0, 1, 500)).to.deep.equal([1, 0]);
    });

    it('which holds up nobody else, not even whoever asks whether it is ready', async () => {
      const waiting = opened.connection.durable.call('WAITAOF', 0, 1, 400);
      let isWaiting = true as boolean;
      void waiting.then(() => (isWaiting = false));
      expect(await opened.connection.problems()).to.deep.equal([]);
      await right(opened.store.append(orders, messages(1)));
      expect(isWaiting).to.equal(true);
      await waiting;
    });

    it('which is missed when it is not there', async () => {
      const before = opened.logger.of('valkey_connected').length;
      opened.connection.reset(opened.connection.durable);
      await eventually(() => expect(opened.connection.durable.status).not.to.equal('ready'));
      expect((await opened.connection.problems())[0]).to.include('fsync');
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
      expect(opened.logger.of('valkey_connected')).to.have.length(before + 1);
      expect(opened.connection.isUp).to.equal(true);
    });
  });

  describe('connects', () => {
    it('as the configured user, and keeps saying what is wrong while the password is', async () => {
      const server = await startValkey();
      const admin = connectAsAdmin(server);
      await admin.call('ACL', 'SETUSER', 'pulsar', 'on', '>secret-password', '~*', '&*', '+@all');
      await admin.call('ACL', 'SETUSER', 'default', 'off');
      const wrong = new ValkeyConnection(
        someSettings(server, { username: 'pulsar', password: 'wrong' }),
        new RecordingLogger(),
      );
      const opened = await openValkey(
        someSettings(server, { username: 'pulsar', password: 'secret-password' }),
      );
      await right(opened.store.append(orders, messages(1)));
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
      expect(await wrong.problems()).to.deep.equal(['valkey: not connected']);
      wrong.close();
      admin.disconnect();
      await opened.close();
      await server.kill();
    });

    it('to the configured database, over four connections that say what they are for', async () => {
      const opened = await openSharedValkey(undefined, { db: 3 });
      await right(opened.store.append(orders, messages(1)));
      const admin = connectAsAdmin(await sharedValkey(), 3);
      expect(await admin.exists(opened.names.key(orders))).to.equal(1);
      for (const role of ['commands', 'durable', 'reads', 'subscriber']) {
        expect(await clientIds(admin, `pulsar-proxy:${role}`)).to.have.length(1);
      }
      admin.disconnect();
      await opened.close();
      await eventually(async () => {
        const again = connectAsAdmin(await sharedValkey());
        expect(await clientIds(again, 'pulsar-proxy:commands')).to.have.length(0);
        again.disconnect();
      });
    });
  });

  describe('comes back by itself', () => {
    let server: ValkeyServer;
    let opened: OpenedValkey;

    beforeEach(async () => {
      server = await startValkey();
      opened = await openValkey(someSettings(server, { commandTimeoutMs: 300 }));
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
    });
    afterEach(async () => {
      await opened.close();
      await server.kill();
    });

    it('after Valkey was killed and started again', async () => {
      for (let round = 1; round <= 2; round++) {
        await server.kill();
        await eventually(async () => {
          expect(await opened.connection.problems()).to.deep.equal(['valkey: not connected']);
        });
        await server.restart();
        await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
        await right(opened.store.append(orders, messages(1)));
      }
      expect(opened.logger.of('valkey_disconnected').length).to.be.at.least(2 * 4);
    });

    it('after Valkey was frozen, though nobody asks for anything but its health', async () => {
      server.freeze();
      const began = performance.now();
      expect(await opened.connection.problems()).to.have.length(1);
      expect(performance.now() - began).to.be.below(600);
      await eventually(async () => {
        expect(await opened.connection.problems()).to.deep.equal(['valkey: not connected']);
      });
      server.thaw();
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
    });

    it('for as long as it is not closed, and then no more', async () => {
      await server.kill();
      await eventually(() => expect(opened.connection.commands.status).to.equal('reconnecting'));
      await opened.close();
      await server.restart();
      const other = await openValkey(someSettings(server));
      const admin = connectAsAdmin(server);
      expect(await clientIds(admin, 'pulsar-proxy:commands')).to.have.length(1);
      admin.disconnect();
      await other.close();
      expect(opened.logger.of('valkey_connected')).to.have.length(4);
    });
  });

  describe('notices a connection on which nothing comes through any more', () => {
    let network: ChaosProxy;
    let opened: OpenedValkey;

    beforeEach(async () => {
      network = await ChaosProxy.open(await sharedValkey());
      opened = await openValkey(someSettings(network.place, { commandTimeoutMs: 300 }));
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]));
    });
    afterEach(async () => {
      await opened.close();
      await network.close();
    });

    for (const [role, use] of [
      ['commands', () => opened.store.append(orders, messages(1))],
      ['reads', () => opened.store.bounds(orders)],
    ] as const) {
      it(`${role}: by a command that is not answered; the next one has a new connection`, async () => {
        expect(network.silence(`pulsar-proxy:${role}`)).to.equal(1);
        const began = performance.now();
        expect(await use()()).to.have.nested.property('left.outcome', 'unknown');
        await eventually(() => right<unknown, unknown>(use()));
        expect(performance.now() - began).to.be.below(1_500);
      });
    }

    it('commands: by the question whether it is ready, when there is nothing else to send', async () => {
      network.silence('pulsar-proxy:commands');
      expect(await opened.connection.problems()).to.have.length(1);
      await eventually(async () => expect(await opened.connection.problems()).to.deep.equal([]), 1_500);
    });

    it('pub/sub: by its watchdog; what was told meanwhile is told afterwards', async () => {
      const told: number[] = [];
      const following = opened.feed.follow(orders, (events) => told.push(...events.map(({ n }) => n)));
      await right(following.start);
      expect(network.silence('pulsar-proxy:subscriber')).to.equal(1);
      await right(opened.store.append(orders, messages(3)));
      await eventually(() => expect(opened.logger.of('valkey_watchdog')).to.have.length(1), 7_000);
      await eventually(() => expect(opened.connection.subscriber.status).to.equal('ready'));
      await right(opened.store.append(orders, messages(1)));
      await eventually(() => expect(told).to.deep.equal([1, 2, 3, 4]));
    }).timeout(15_000);
  });
});
