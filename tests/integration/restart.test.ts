/** What outlives the process: with Valkey everything, in memory nothing, and then it says so. */
import { expect } from 'chai';
import { payloads, poll, publish, request, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { spawnProxy, type ProxyProcess } from '../support/proxy.js';
import { randomKeyPrefix, sharedValkey } from '../support/shared-valkey.js';
import { startValkey } from '../support/valkey-server.js';
import { ackAll, pollUntil, spawnReady } from './fleet.js';

describe('a restart', () => {
  let proxy: ProxyProcess;

  afterEach(async () => {
    proxy.kill('SIGKILL');
    await proxy.exited;
  });

  const restarted = async (options: Parameters<typeof spawnReady>[0]): Promise<void> => {
    await proxy.stop();
    proxy = await spawnReady(options);
  };

  it('forgets everything with the memory driver, which says so at the start', async () => {
    proxy = await spawnReady({ driver: 'memory' });
    expect(proxy.stdout()).to.include('storage_in_memory').and.include('end with it');
    const token = await proxy.token();
    await poll(proxy, token, { topics: 'orders' });
    await publish(proxy, 'orders', 1);
    await restarted({ driver: 'memory' });
    const { body } = await poll(proxy, token, { topics: 'orders', from: 'earliest' });
    expect(body.messages).to.deep.equal([]);
  });

  it('keeps messages and positions with the Valkey driver', async () => {
    const { port } = await sharedValkey();
    const options = { driver: 'valkey', valkey: { port, keyPrefix: randomKeyPrefix() } } as const;
    proxy = await spawnReady(options);
    expect(proxy.stdout()).not.to.include('storage_in_memory');
    const token = await proxy.token();
    await poll(proxy, token, { topics: 'orders,invoices.*', client_id: 'phone' });
    for (let i = 1; i <= 5; i++) await publish(proxy, 'orders', i);
    const given = await pollUntil([proxy], token, { topics: 'orders', client_id: 'phone', max: 2 }, 2);
    await ackAll(proxy, token, given, 'phone');

    await restarted(options);
    await publish(proxy, 'invoices.eu', 6);
    const rest = await pollUntil([proxy], token, { topics: 'orders,invoices.*', client_id: 'phone' }, 4);
    expect(payloads(rest)).to.have.members([3, 4, 5, 6]);
    await ackAll(proxy, token, rest, 'phone');

    await restarted(options);
    const client = await WsClient.connect(proxy, { token });
    const { topics } = await client.subscribe(['orders'], { client_id: 'phone' });
    expect(topics).to.deep.equal([{ topic: 'orders', recovered: true }]);
    await publish(proxy, 'orders', 7);
    expect((await client.next('message')).payload).to.equal(7);
    expect(client.messages).to.have.length(1);
    // Whoever is new may still have it all.
    const all = await poll(proxy, token, { topics: 'orders', client_id: 'tablet', from: 'earliest' });
    expect(payloads(all.body.messages)).to.deep.equal([1, 2, 3, 4, 5, 7]);
  });

  it('on a Valkey that may lose what it is given is not ready, unless that is allowed', async () => {
    const server = await startValkey(['--appendonly', 'no']);
    const valkey = { port: server.port };
    proxy = await spawnProxy({ driver: 'valkey', valkey });
    await eventually(async () => {
      const { status, text } = await request(proxy, 'GET', '/ready');
      expect(status).to.equal(503);
      expect(text).to.include('appendonly');
    });
    await eventually(() => expect(proxy.stdout()).to.include('valkey_unsafe'));
    expect((await request(proxy, 'GET', '/health')).status).to.equal(200);
    await restarted({ driver: 'valkey', valkey, config: { valkey: { allow_unsafe: true } } });
    await server.kill();
  });
});
