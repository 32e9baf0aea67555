/** /ready and /metrics tell what is wrong with Valkey while every connection to it is there. */
import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { connectAsAdmin } from '../infrastructure/valkey/valkey-admin.js';
import { ChaosProxy } from '../support/chaos-proxy.js';
import { metric, publish, request } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startProxy, type Proxy } from '../support/proxy.js';
import { startValkey, type ValkeyServer } from '../support/valkey-server.js';
import { isReady } from './fleet.js';

/** R-31, and far more than the three seconds after which a silent feed is a problem. */
const NOTICED_MS = 10_000;

describe('a proxy tells', () => {
  let server: ValkeyServer;
  let network: ChaosProxy;
  let admin: Redis;
  let proxy: Proxy;

  beforeEach(async () => {
    server = await startValkey();
    network = await ChaosProxy.open(server);
    admin = connectAsAdmin(server);
    proxy = await startProxy({
      driver: 'valkey',
      valkey: { port: network.place.port },
      // Nothing but what is tested here is to notice anything.
      config: { valkey: { command_timeout: '60s' } },
    });
    await isReady(proxy);
  });
  afterEach(async () => {
    admin.disconnect();
    await proxy.stop();
    await network.close();
    await server.kill();
  });

  const notReady = async (because: string): Promise<void> =>
    eventually(async () => {
      const { status, text } = await request(proxy, 'GET', '/ready');
      expect(status).to.equal(503);
      expect(text).to.include(because);
    }, NOTICED_MS);

  it('that pub/sub does not deliver, and that it does again', async () => {
    await eventually(async () => expect(await metric(proxy, 'proxy_feed_lag_seconds')).to.be.above(0));
    expect(network.silence('pulsar-proxy:subscriber')).to.equal(1);
    await notReady('pub/sub does not deliver');
    expect(await metric(proxy, 'proxy_feed_lag_seconds')).to.be.above(2);
    // What does not need pub/sub goes on.
    await publish(proxy, 'orders', 1);
    expect(network.cut('pulsar-proxy:subscriber')).to.equal(1);
    await isReady(proxy);
    expect(await metric(proxy, 'proxy_feed_lag_seconds')).to.be.below(2);
  });

  it('that Valkey was configured to evict messages', async () => {
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await notReady('allkeys-lru');
    expect(await metric(proxy, 'proxy_storage_up')).to.equal(1);
    await admin.config('SET', 'maxmemory-policy', 'noeviction');
    await eventually(() => isReady(proxy), NOTICED_MS);
  }).timeout(30_000);

  it('that its storage is gone, and back', async () => {
    expect(await metric(proxy, 'proxy_storage_up')).to.equal(1);
    await server.kill();
    await eventually(async () => expect(await metric(proxy, 'proxy_storage_up')).to.equal(0));
    await server.restart();
    await isReady(proxy);
    expect(await metric(proxy, 'proxy_storage_up')).to.equal(1);
  });
});

describe('a proxy in memory tells', () => {
  it('that its storage is there, and nothing of pub/sub, which it has none of', async () => {
    const proxy = await startProxy();
    const { text } = await request(proxy, 'GET', '/metrics');
    expect(text.split('\n')).to.include('proxy_storage_up 1');
    expect(text.split('\n').filter((line) => line.startsWith('proxy_feed_lag_seconds'))).to.deep.equal([]);
    await proxy.stop();
  });
});
