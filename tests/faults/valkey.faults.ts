/** What becomes of the promises when it is Valkey that is in trouble, or the way to it. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import type { Place } from '../support/chaos-proxy.js';
import { ack, poll, post, request, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { scenario, type Scene } from './scenario.js';
import { pause } from './world.js';

/** What a test waits for at most, for something that is promised within seconds. */
const SECONDS = 20_000;

const status = async ({ installation }: Scene, path: string): Promise<number> =>
  (await request(installation.slot(0).target, 'GET', path)).status;

/** Everything at the first proxy: whether it is alive, ready, and what it answers to a publish. */
const answers = async (scene: Scene, publish: number, ready: number): Promise<void> => {
  await eventually(async () => {
    const { target } = scene.installation.slot(0);
    const answer = await post(target, { topic: 'asked', payload: 'x'.repeat(5_000) });
    expect([answer.status, await status(scene, '/ready'), await status(scene, '/health')]).to.deep.equal(
      [publish, ready, 200],
      answer.text,
    );
  }, SECONDS);
};

describe('when Valkey', () => {
  scenario('is killed and started again, nothing is lost that it had synced', {}, async (scene) => {
    const { installation, workload } = scene;
    await workload.runFor(2_000);
    await installation.valkey.kill();
    await answers(scene, 503, 503);
    await pause(3_000);
    await installation.valkey.restart();
  });

  scenario(
    'is killed and syncs every second only, what it forgot is told',
    { installation: { valkey: [] } },
    async ({ installation, workload }) => {
      for (let round = 0; round < 3; round++) {
        await workload.runFor(2_000);
        const { nowMs } = workload.history;
        const fromMs = nowMs() - SYNC_WINDOW_MS;
        await installation.valkey.kill();
        await pause(ON_ITS_WAY_MS);
        workload.mayHaveForgotten(fromMs, nowMs());
        await installation.valkey.restart();
        await installation.isReady();
      }
    },
  );

  scenario('comes and goes every two seconds, nothing piles up', {}, async ({ installation, workload }) => {
    for (let round = 0; round < 5; round++) {
      await workload.runFor(2_000);
      await installation.valkey.kill();
      await pause(2_000);
      await installation.valkey.restart();
    }
  });

  scenario('is frozen for ten seconds, nothing is stored twice and nobody hangs', {}, async (scene) => {
    const { installation, workload } = scene;
    await workload.runFor(2_000);
    installation.valkey.freeze();
    await answers(scene, 503, 503);
    await pause(10_000);
    installation.valkey.thaw();
  });

  scenario('is behind a black hole, proxies notice, and come back by themselves', {}, async (scene) => {
    const { installation, workload } = scene;
    await workload.runFor(2_000);
    await installation.networksBecome({ type: 'blackHole' });
    await answers(scene, 503, 503);
    await pause(8_000);
    await installation.networksBecome({ type: 'pass' });
  });

  scenario(
    'is behind a black hole for one proxy only, the others go on',
    {},
    async ({ installation, workload }) => {
      const { network } = installation.slot(0);
      await workload.runFor(2_000);
      await network.become({ type: 'blackHole' });
      await pause(10_000);
      await network.heal();
    },
  );

  scenario(
    'answers after 300 ± 300 ms, it is slow and nothing fails',
    {},
    async ({ installation, workload }) => {
      await installation.networksBecome({ type: 'delay', delayMs: 300, jitterMs: 300 });
      const before = workload.history.publishes.length;
      await workload.runFor(12_000);
      const during = workload.history.publishes.slice(before);
      expect(during.filter(({ outcome }) => outcome === 'stored')).to.have.length.above(20);
      await installation.networksBecome({ type: 'pass' });
    },
  );

  scenario('has a narrow link, it is slow and nothing is lost', {}, async ({ installation, workload }) => {
    await installation.networksBecome({ type: 'throttle', bytesPerSecond: 60_000 });
    await workload.runFor(10_000);
    await installation.networksBecome({ type: 'pass' });
  });

  scenario(
    'has stored and the reply is cut off, a producer that asks again stores nothing twice',
    { workload: { pauseMs: 20 } },
    async ({ installation, workload, random }) => {
      for (let round = 0; round < 20; round++) {
        const { network } = random.pick(installation.slots);
        network.cutReplies(random.whole(1, 3));
        await pause(random.whole(200, 900));
        await network.heal();
      }
      const unknown = workload.history.publishes.filter(({ outcome }) => outcome === 'unknown');
      expect(unknown, 'publishes that were cut off').to.not.be.empty;
    },
  );

  scenario('is loading its log, proxies wait for it', {}, async (scene) => {
    const { installation, workload } = scene;
    await workload.runFor(3_000);
    await installation.valkey.kill();
    // Each command takes so long that all of them take seconds, as those of a log that is a thousand times as long.
    const commands = installation.valkey.writtenBytes() / COMMAND_BYTES;
    const delayUs = Math.ceil((LOADING_SECONDS * 1e6) / commands);
    const restarting = installation.valkey.restart(['--key-load-delay', String(delayUs)]);
    await eventually(
      async () => expect(await firstWords(installation.valkey)).to.match(/^-LOADING/),
      SECONDS,
    );
    expect(await status(scene, '/ready')).to.equal(503);
    expect(await status(scene, '/health')).to.equal(200);
    await restarting;
  });

  scenario(
    'is full, publishes are refused, what is stored is still consumed, and room is used when there is some',
    { workload: { padding: 2_000 } },
    async (scene) => {
      const { installation, workload } = scene;
      const { target } = installation.slot(0);
      const { token } = workload.world;
      const phone = await WsClient.connect(target, { token });
      await phone.subscribe(['kept'], { client_id: 'full-phone', ack_timeout: 60 });
      await poll(target, token, { topics: 'kept', client_id: 'full-poller' });
      for (let i = 0; i < 3; i++) await post(target, { topic: 'kept', payload: i });
      const [first] = await phone.nextMessages(3);

      await installation.asAdmin(async (admin) => {
        const used = Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]);
        await admin.config('SET', 'maxmemory', String(used + 500_000));
      });
      await answers(scene, 507, 200);
      expect(await phone.ack(first!.message_id)).to.include({ type: 'acked', acknowledged: 1 });
      const polled = await poll(target, token, { topics: 'kept', client_id: 'full-poller' });
      expect(polled.body.messages, polled.text).to.have.length(3);
      const ids = polled.body.messages.map(({ message_id }) => message_id);
      expect((await ack(target, token, ids, 'full-poller')).body.acknowledged).to.equal(3);

      await installation.asAdmin((admin) => admin.config('SET', 'maxmemory', '0'));
      await answers(scene, 201, 200);
      await phone.close();
    },
  );

  scenario(
    'cannot write its log, publishes are refused until it can',
    { installation: { valkey: ['--appendfsync', 'everysec'] } },
    async (scene) => {
      const { valkey } = scene.installation;
      await scene.workload.runFor(1_000);
      limitFiles(valkey.pid, String(valkey.writtenBytes() + 20_000));
      await answers(scene, 503, 503);
      limitFiles(valkey.pid, 'unlimited');
      await answers(scene, 201, 200);
    },
  );

  scenario('is told to evict, proxies are not ready until it is told not to', {}, async (scene) => {
    const { installation } = scene;
    const policy = (name: string): Promise<unknown> =>
      installation.asAdmin((admin) => admin.config('SET', 'maxmemory-policy', name));
    await policy('allkeys-lru');
    await eventually(async () => expect(await status(scene, '/ready')).to.equal(503), SECONDS);
    await policy('noeviction');
    await eventually(async () => expect(await status(scene, '/ready')).to.equal(200), SECONDS);
  });

  scenario(
    'cuts its pub/sub connections every two seconds, everything comes all the same',
    {},
    async (scene) => {
      const { installation, workload } = scene;
      for (let round = 0; round < 6; round++) {
        await workload.runFor(2_000);
        await installation.asAdmin((admin) => admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'));
      }
    },
  );

  scenario(
    'is emptied, everybody is told, and the service goes on',
    {},
    async ({ installation, workload }) => {
      const { nowMs } = workload.history;
      await workload.runFor(3_000);
      await installation.asAdmin((admin) => admin.flushall());
      workload.mayHaveForgotten(0, nowMs());
      workload.world.flushedMs = nowMs();
      await workload.runFor(3_000);
      const reasons = workload.history.subscriptions.flatMap(({ events }) =>
        events.filter((event) => event.type === 'GapTold').map(({ reason }) => reason),
      );
      expect([...new Set(reasons)]).to.deep.equal(['stream_reset']);
    },
  );

  scenario('has lost the end of its log, what is gone is told', {}, async ({ installation, workload }) => {
    const { nowMs } = workload.history;
    await workload.runFor(3_000);
    const fromMs = nowMs();
    const kept = installation.valkey.writtenBytes();
    await workload.runFor(1_000);
    await installation.valkey.kill();
    await pause(ON_ITS_WAY_MS);
    workload.mayHaveForgotten(fromMs, nowMs());
    installation.valkey.loseAfter(kept);
    await installation.valkey.restart();
  });
});

/** What a server answers to PING; clients that wait until it has loaded would wait. */
const firstWords = async ({ host, port }: Place): Promise<string> => {
  const socket = connect(port, host);
  try {
    await once(socket, 'connect');
    socket.write('PING\r\n');
    const [reply] = (await once(socket, 'data')) as [Buffer];
    return reply.toString();
  } finally {
    socket.destroy();
  }
};

const LOADING_SECONDS = 3;
/** About what a command takes in the log. */
const COMMAND_BYTES = 120;

/** What was answered before a kill has reached everybody after this. */
const ON_ITS_WAY_MS = 1_000;

/** With `everysec` a write waits for a sync that is under way, at most so long, while it is answered already. */
const SYNC_WINDOW_MS = 2_500;

/** What a full disk is to a process: its files may not grow any more. The limit above it stays, so it can be raised. */
const limitFiles = (pid: number, bytes: string): void => {
  execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`]);
};
