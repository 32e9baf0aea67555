/** What a producer may rely on when it does not know whether its message arrived, or wants to know that it is on disk. */
import { expect } from 'chai';
import { setTimeout as delay } from 'node:timers/promises';
import { commandCalls, connectAsAdmin } from '../infrastructure/valkey/valkey-admin.js';
import { bulk, payloads, poll, post, publish, type DeliveredMessage } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import type { Proxy } from '../support/proxy.js';
import { sharedValkey } from '../support/shared-valkey.js';
import { startValkey, type ValkeyServer } from '../support/valkey-server.js';
import { ackAll, isReady, startFleet } from './fleet.js';

/** The payloads of all that the topic has. Once for each topic, since what is acknowledged does not come again. */
const stored = async (proxy: Proxy, topic: string): Promise<readonly unknown[]> => {
  const token = await proxy.token();
  const came: DeliveredMessage[] = [];
  for (;;) {
    const { body } = await poll(proxy, token, { topics: topic, from: 'earliest', client_id: topic });
    if (body.messages.length === 0) return payloads(came);
    came.push(...body.messages);
    await ackAll(proxy, token, body.messages, topic);
  }
};

describe('the same idempotency key on two proxies', () => {
  let fleet: readonly Proxy[];

  before(async () => {
    fleet = await startFleet(2, (await sharedValkey()).port, { delivery: { idempotency_window: '2s' } });
  });
  after(() => Promise.all(fleet.map((proxy) => proxy.stop())));

  it('makes exactly one entry of each message, published on both at the same time', async () => {
    const COUNT = 50;
    const answers = await Promise.all(
      Array.from({ length: COUNT }, (_, i) =>
        Promise.all(
          fleet.map((proxy) => post(proxy, { topic: 'both', payload: i, idempotency_key: `both-${i}` })),
        ),
      ),
    );
    for (const both of answers) {
      expect(both.map(({ status }) => status)).to.deep.equal([201, 201]);
      expect(new Set(both.map(({ body }) => body.message_id)).size).to.equal(1);
      expect(both.filter(({ body }) => body.duplicate === true)).to.have.length(1);
    }
    const numbers = (await stored(fleet[0]!, 'both')) as readonly number[];
    expect([...numbers].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: COUNT }, (_, i) => i));
  });

  it('lets exactly one of two different messages in, and tells the other', async () => {
    for (let i = 0; i < 20; i++) {
      const answers = await Promise.all(
        fleet.map((proxy, who) =>
          post(proxy, { topic: 'either', payload: [i, who], idempotency_key: `either-${i}` }),
        ),
      );
      expect(answers.map(({ status }) => status)).to.have.members([201, 422]);
    }
    expect(await stored(fleet[0]!, 'either')).to.have.length(20);
  });

  it('is forgotten by both when its window is over', async () => {
    const message = { topic: 'window', payload: 1, idempotency_key: 'window' };
    const first = await post(fleet[0]!, message);
    await eventually(async () => {
      const { body } = await post(fleet[1]!, message);
      expect(body.message_id).not.to.equal(first.body.message_id);
    }, 10_000);
    expect(await stored(fleet[0]!, 'window')).to.deep.equal([1, 1]);
  });
});

describe('a producer that retries with the same key while Valkey dies and comes back', () => {
  let server: ValkeyServer;
  let fleet: readonly Proxy[];

  before(async () => {
    server = await startValkey(['--appendfsync', 'always']);
    fleet = await startFleet(2, server.port);
  });
  after(async () => {
    await Promise.all(fleet.map((proxy) => proxy.stop()));
    await server.kill();
  });

  it('makes exactly one entry of each message, in whichever answer it learns of it', async () => {
    const traffic = { isOver: false, published: 0, refused: 0 };
    const publishUntilStored = async (i: number): Promise<void> => {
      for (let attempt = 0; ; attempt++) {
        const message = { topic: 'retried', payload: i, idempotency_key: `retried-${i}` };
        const { status } = await post(fleet[(i + attempt) % 2]!, message);
        if (status === 201) return;
        traffic.refused += 1;
        await delay(20);
      }
    };
    const publisher = async (): Promise<void> => {
      while (!traffic.isOver) await publishUntilStored(traffic.published++);
    };
    const publishing = Promise.all(Array.from({ length: 8 }, publisher));
    for (let i = 0; i < 3; i++) {
      await delay(200);
      await server.restart();
    }
    traffic.isOver = true;
    await publishing;
    expect(traffic.refused).to.be.above(0);
    await Promise.all(fleet.map(isReady));
    const numbers = (await stored(fleet[0]!, 'retried')) as readonly number[];
    expect([...numbers].sort((a, b) => a - b)).to.deep.equal([...Array(traffic.published).keys()]);
  });
});

describe('durability fsync', () => {
  let server: ValkeyServer;
  let proxy: Proxy;

  const start = async (...options: readonly string[]): Promise<void> => {
    server = await startValkey(options);
    [proxy] = (await startFleet(1, server.port, { valkey: { allow_unsafe: true } })) as [Proxy];
  };
  afterEach(async () => {
    await proxy.stop();
    await server.kill();
  });

  it('is answered once Valkey has confirmed that the messages are on disk, one by one or in a bulk', async () => {
    await start('--appendfsync', 'everysec');
    const admin = connectAsAdmin(server);
    const confirmations = (): Promise<number> => commandCalls(admin, 'waitaof');
    const before = await confirmations();
    await publish(proxy, 't', 'only stored');
    expect(await confirmations()).to.equal(before);
    await publish(proxy, 't', 'one', { durability: 'fsync' });
    const afterOne = await confirmations();
    expect(afterOne).to.be.above(before);
    const answer = await bulk(proxy, [
      { topic: 't', payload: 'two' },
      { topic: 't', payload: 'three', durability: 'fsync', idempotency_key: 'k' },
    ]);
    expect(answer.status).to.equal(201);
    expect(await confirmations()).to.be.above(afterOne);
    admin.disconnect();
    await server.restart();
    await isReady(proxy);
    expect(await stored(proxy, 't')).to.deep.equal(['only stored', 'one', 'two', 'three']);
  });

  it('is refused as not stored where Valkey keeps no log, and without it the message is taken', async () => {
    await start('--appendonly', 'no');
    const message = { topic: 't', payload: 1, idempotency_key: 'k' };
    const refused = await post(proxy, { ...message, durability: 'fsync' });
    expect(refused.status).to.equal(409);
    expect(refused.body).to.include({
      code: 'durability_unavailable',
      temporary: false,
      outcome: 'not_stored',
    });
    expect(await stored(proxy, 't')).to.deep.equal([]);
    const taken = await post(proxy, { ...message, durability: 'stored' });
    expect(taken.status).to.equal(201);
    expect(taken.body).not.to.have.property('duplicate');
  });
});
