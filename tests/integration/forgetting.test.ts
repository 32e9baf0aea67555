/**
 * Clients that come once and topics that are written to once: when their time has passed, nothing is left of them, in
 * Valkey or in the process. A small round of it first says what an installation has that nobody uses any more; after the
 * large round it has exactly that again. Time in the process is moved on by hand; what expires in Valkey does so itself.
 *
 * The size that the promise is made for takes minutes, and says how much memory was left in use:
 *   FORGETTING_CLIENTS=100000 FORGETTING_TOPICS=10000 npx mocha --timeout 0 dist/tests/integration/forgetting.test.js
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { subscriptionStream, topicStream, type Stream } from '../../application/ports/event-store.js';
import { connectAsAdmin, infoNumber } from '../infrastructure/valkey/valkey-admin.js';
import { anIdentity, aPattern, aTopic } from '../support/builders.js';
import { ack, payloads, poll, post, publish, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { anInstance, Backend } from '../support/instance.js';
import { ManualClock } from '../support/manual-clock.js';
import { startProxy, type Proxy } from '../support/proxy.js';
import { right } from '../support/task-either.js';
import { startValkey, type ValkeyServer } from '../support/valkey-server.js';
import { isReady } from './fleet.js';

const CLIENTS = Number(process.env['FORGETTING_CLIENTS'] ?? 2_000);
const TOPICS = Number(process.env['FORGETTING_TOPICS'] ?? 500);
const IS_LARGE = process.env['FORGETTING_CLIENTS'] !== undefined;

/** Topics whose clients are busy at the same time. */
const CONCURRENCY = 32;

const YEAR_SECONDS = 365 * 24 * 3600;

/** How long a topic stays followed after its last listener. */
const LINGER_MS = 30_000;

/** Calls `run` with the numbers from 0 to `count`, some at a time. */
const forEach = async (count: number, run: (i: number) => Promise<void>): Promise<void> => {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
};

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What is in use, in MB, once nothing can be collected any more. */
const memory = (): { readonly heap: number; readonly resident: number } => {
  collectGarbage();
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: Math.round(heapUsed / 1e5) / 10, resident: Math.round(rss / 1e5) / 10 };
};

/** Of the large round, a hundred bytes of each client and topic would be more; of the small one this says little. */
const LEFT_MB_MAX = 10;

const report = (what: string, fields: Readonly<Record<string, unknown>>): void => {
  if (IS_LARGE) process.stdout.write(`    ${what}: ${JSON.stringify(fields)}\n`);
};

describe('one-shot clients and one-shot topics', () => {
  describe('with Valkey', () => {
    let server: ValkeyServer;
    let admin: Redis;
    let clock: ManualClock;
    let proxy: Proxy;
    let token: string;

    before(async () => {
      server = await startValkey();
      admin = connectAsAdmin(server);
      clock = new ManualClock(Date.now());
      proxy = await startProxy({
        driver: 'valkey',
        valkey: { port: server.port },
        clock,
        config: {
          storage: { persistent_tier_retention: '1s', subscription_retention: '1s' },
          delivery: { idempotency_window: '1s' },
        },
      });
      await isReady(proxy);
      // Hours go by here.
      token = await proxy.token('alice', { exp: Math.floor(Date.now() / 1000) + YEAR_SECONDS });
    });
    after(async () => {
      await proxy.stop();
      admin.disconnect();
      await server.kill();
    });

    /** Over HTTP, one in ten over a WebSocket; every second one goes without acknowledging what it got. */
    const come = async (
      clientId: string,
      topics: string,
      isSocket: boolean,
      acks: boolean,
    ): Promise<void> => {
      if (isSocket) {
        const client = await WsClient.connect(proxy, { token });
        await client.subscribe([topics], { client_id: clientId, from: 'earliest' });
        await client.sync();
        if (acks && client.messages.length > 0)
          await client.ack(...client.messages.map(({ message_id }) => message_id));
        await client.close();
        return;
      }
      const answer = await poll(proxy, token, { topics, client_id: clientId, from: 'earliest' });
      expect(answer.status, answer.text).to.equal(200);
      const ids = answer.body.messages.map(({ message_id }) => message_id);
      if (acks && ids.length > 0) expect((await ack(proxy, token, ids, clientId)).status).to.equal(200);
    };

    /** Each topic gets its one message and its share of the clients; one in twenty finds it by a pattern. */
    const round = async (name: string, clients: number, topics: number): Promise<void> => {
      await forEach(topics, async (t) => {
        const topic = `${name}.${t}.only`;
        const body = { topic, payload: t };
        const stored = await post(proxy, body, { headers: { 'idempotency-key': topic } });
        expect(stored.status, stored.text).to.equal(201);
        for (let i = t; i < clients; i += topics) {
          const wanted = i % 20 === 1 ? `${name}.${t}.*` : topic;
          await come(`${name}-${i}`, wanted, i % 10 === 0, i % 2 === 0);
        }
      });
    };

    const topicChannels = async (): Promise<readonly unknown[]> =>
      (await admin.pubsub('CHANNELS', '*topic:*')).toSorted();

    /** All keys but the mark of the last sweep, which comes and goes; where they are too many to list, their number. */
    const keys = async (): Promise<readonly string[] | number> => {
      const count = await admin.dbsize();
      return count > 100 ? count : (await admin.keys('*')).filter((key) => key !== 'topics:sweep').toSorted();
    };

    /**
     * Lets time go by until nothing is left: no stream, no entry in the catalogue, nothing followed. Whoever subscribes
     * to everything then follows nothing, so no name is remembered either.
     */
    const forget = async (witness: string, timeoutMs: number): Promise<void> => {
      let witnesses = 0;
      await eventually(async () => {
        clock.advance(LINGER_MS + 1_000);
        expect(await admin.dbsize()).to.be.below(100);
        expect(await admin.xlen('topics')).to.equal(0);
        expect(
          (await poll(proxy, token, { topics: '>', client_id: `${witness}-${++witnesses}` })).status,
        ).to.equal(200);
        expect(await topicChannels()).to.deep.equal([]);
      }, timeoutMs);
      await eventually(async () => {
        expect(JSON.stringify(await keys())).not.to.match(/^\d|topic:|subscription:|idempotency:/);
      }, timeoutMs);
    };

    it('leave no key, no channel, no timer and no name behind', async function () {
      this.timeout(120_000 + CLIENTS * 20);
      await round('few', 40, 10);
      expect(await admin.xlen('topics')).to.equal(10);
      await forget('few', 30_000);
      const [keysBefore, timersBefore, memoryBefore] = [await keys(), clock.waiting, memory()];
      const valkeyBytesBefore = await infoNumber(admin, 'used_memory');

      const begun = performance.now();
      let keysMost = 0;
      const watch = setInterval(
        () => void admin.dbsize().then((count) => (keysMost = Math.max(keysMost, count))),
        100,
      );
      await round('many', CLIENTS, TOPICS);
      clearInterval(watch);
      const secondsBusy = (performance.now() - begun) / 1000;
      // Time has stood still in the process: nothing was swept yet.
      expect(await admin.xlen('topics')).to.equal(TOPICS);
      const [timersMost, memoryMost] = [clock.waiting, memory()];
      expect(timersMost).to.be.at.least(timersBefore + TOPICS);

      await forget('many', 30_000 + CLIENTS);
      await eventually(() => expect(clock.waiting).to.equal(timersBefore));
      expect(await keys()).to.deep.equal(keysBefore);
      const memoryAfter = memory();
      expect(memoryAfter.heap).to.be.below(memoryBefore.heap + LEFT_MB_MAX);
      report('with Valkey', {
        ...{ clients: CLIENTS, topics: TOPICS, secondsBusy, seconds: (performance.now() - begun) / 1000 },
        ...{
          keysBefore,
          keysMost,
          keysAfter: await keys(),
          timersBefore,
          timersMost,
          timersAfter: clock.waiting,
        },
        ...{ memoryBefore, memoryMost, memoryAfter },
        ...{ valkeyBytesBefore, valkeyBytesAfter: await infoNumber(admin, 'used_memory') },
      });
    });

    it('are as new when they come again', async () => {
      await post(
        proxy,
        { topic: 'few.3.only', payload: 1 },
        { headers: { 'idempotency-key': 'few.3.only' } },
      );
      const again = { topics: 'few.*.only', client_id: 'few-3', from: 'earliest' };
      const { body } = await poll(proxy, token, again);
      expect(payloads(body.messages)).to.deep.equal([1]);
      expect(body.messages[0]?.attempt ?? 1).to.equal(1);
      expect(body.gaps).to.equal(undefined);
    });

    it('cost nobody anything: of a topic that comes back everybody gets what comes, and is told of no loss', async () => {
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['stays.only'], { client_id: 'stays' });
      for (const payload of [1, 2, 3]) await publish(proxy, 'stays.only', payload);
      await client.ack(...(await client.nextMessages(3)).map(({ message_id }) => message_id));
      await eventually(async () => expect(await admin.exists('topic:stays.only')).to.equal(0), 10_000);
      await publish(proxy, 'stays.only', 4);
      expect((await client.next('message')).payload).to.equal(4);
      await client.sync();
      expect(client.frames.filter(({ type }) => type === 'gap')).to.deep.equal([]);
      await client.close();
      const late = { topics: 'stays.only', client_id: 'late', from: 'earliest' };
      const { body } = await poll(proxy, token, late);
      expect([payloads(body.messages), body.gaps]).to.deep.equal([[4], undefined]);
    });
  });

  describe('in memory', () => {
    it('leave no stream, no timer and no name behind', async function () {
      this.timeout(60_000 + CLIENTS * 20);
      const retention = { messagesMs: 60_000, subscriptionMs: 60_000 };
      const backend = new Backend(retention);
      const instance = anInstance(backend);
      const { clock, store } = backend;
      await right(instance.catalogue.matching([aPattern('>')]));
      const [timersBefore, memoryBefore] = [clock.waiting, memory()];

      for (let i = 0; i < CLIENTS; i++) {
        const topic = `many.${i % TOPICS}.only`;
        if (i < TOPICS) await backend.publish(topic, 'a');
        const wanted = { clientId: `many-${i}`, topics: [i % 20 === 1 ? `many.${i % TOPICS}.*` : topic] };
        if (i % 10 === 0) {
          const { session } = await instance.subscribe(wanted);
          await instance.sessions.end(session);
        } else await instance.poll(wanted);
      }
      /** How many streams there are, of all that were written. */
      const written = async (): Promise<number> => {
        let count = 0;
        const look = async (stream: Stream): Promise<void> => {
          if ((await right(store.bounds(stream))).last.n > 0) count += 1;
        };
        for (let t = 0; t < TOPICS; t++) await look(topicStream(aTopic(`many.${t}.only`)));
        for (let i = 0; i < CLIENTS; i++)
          await look(subscriptionStream(anIdentity({ clientId: `many-${i}` })));
        return count;
      };
      expect(await written()).to.equal(CLIENTS + TOPICS);
      const [timersMost, memoryMost] = [clock.waiting, memory()];
      expect(timersMost).to.be.at.least(timersBefore + TOPICS);

      // A thousand streams are looked at in a second.
      await backend.pass(retention.messagesMs + retention.subscriptionMs + 60_000 + 2 * (CLIENTS + TOPICS));
      expect(await written()).to.equal(0);
      expect(await right(instance.catalogue.matching([aPattern('>')]))).to.deep.equal([]);
      expect(instance.metrics.queueDepths).to.deep.equal({});
      expect(instance.feed.followed).to.equal(1);
      expect(clock.waiting).to.equal(timersBefore);
      const memoryAfter = memory();
      expect(memoryAfter.heap).to.be.below(memoryBefore.heap + LEFT_MB_MAX);
      report('in memory', { timersBefore, timersMost, memoryBefore, memoryMost, memoryAfter });
    });
  });
});
