/** What the storage has lost is told to who was waiting for it, and to nobody else; everything goes on behind it. */
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { poll, publish, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import type { Proxy } from '../support/proxy.js';
import { startProxy } from '../support/proxy.js';
import { startValkey, type ValkeyServer } from '../support/valkey-server.js';
import { connectAsAdmin } from '../infrastructure/valkey/valkey-admin.js';
import { ackAll, idsOf, isReady, pollUntil } from './fleet.js';

describe('when Valkey has lost', () => {
  let folder: string;
  let server: ValkeyServer;
  let publisher: Proxy;
  let other: Proxy;
  let token: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pulsar-loss-'));
    server = await startValkey(['--dir', folder]);
    const options = { driver: 'valkey', valkey: { port: server.port } } as const;
    [publisher, other] = await Promise.all([startProxy(options), startProxy(options)]);
    await Promise.all([isReady(publisher), isReady(other)]);
    token = await other.token();
  });
  afterEach(async () => {
    await Promise.all([publisher.stop(), other.stop()]);
    await server.kill();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });

  const PHONE = { topics: 'orders', client_id: 'phone' };

  /** Publishes the numbers in [from, to] one after the other; answers the ids. */
  const publishAll = async (from: number, to: number): Promise<readonly string[]> => {
    const ids: string[] = [];
    for (let i = from; i <= to; i++) ids.push(await publish(publisher, 'orders', i));
    return ids;
  };

  const offsetOf = (id: string | undefined): string => id?.replace('orders:', '') ?? '';

  it('the end of its log: a consumer behind is told one gap, one that had everything is told none', async () => {
    const live = await WsClient.connect(other, { token });
    await live.subscribe(['orders']);
    await poll(other, token, PHONE);
    const kept = await publishAll(1, 7);
    await ackAll(other, token, await pollUntil([other], token, PHONE, 7), 'phone');
    // What was answered has been written to the log; here is where it is cut.
    const log = join(folder, 'appendonlydir', 'appendonly.aof.1.incr.aof');
    const { size } = statSync(log);
    const lost = await publishAll(8, 10);
    await live.nextMessages(10);
    await server.kill();
    truncateSync(log, size);
    await server.restart();
    await Promise.all([isReady(publisher), isReady(other)]);
    const [next] = await publishAll(11, 11);

    expect((await live.next('message')).message_id).to.equal(next);
    await live.sync();
    expect(live.frames.filter(({ type }) => type === 'gap')).to.deep.equal([]);
    // The proxy that has held the messages in memory may give them; another one has to tell that they are gone.
    const stranger = await startProxy({ driver: 'valkey', valkey: { port: server.port } });
    await isReady(stranger);
    const { messages, gaps } = (await poll(stranger, token, { ...PHONE, timeout: 5 })).body;
    expect(idsOf(messages)).to.deep.equal([next]);
    expect(gaps).to.deep.equal([
      { topic: 'orders', from: offsetOf(kept[6]), to: offsetOf(lost[2]), reason: 'storage_rollback' },
    ]);
    await stranger.stop();
  });

  it('a topic: a consumer behind is told one gap, and gets what is published afterwards', async () => {
    await poll(other, token, PHONE);
    const first = await publishAll(1, 3);
    await ackAll(other, token, await pollUntil([other], token, { ...PHONE, max: 3 }, 3), 'phone');
    const lost = await publishAll(4, 5);
    const admin = connectAsAdmin(server);
    await admin.del('topic:orders');
    const after = await publishAll(6, 8);
    await eventually(async () => {
      const entries = await admin.xrange('topic:orders', '-', '+');
      expect(entries.filter(([, fields]) => fields.includes('lost'))).to.have.length(1);
    });
    admin.disconnect();
    const stranger = await startProxy({ driver: 'valkey', valkey: { port: server.port } });
    await isReady(stranger);
    const { messages, gaps } = (await poll(stranger, token, { ...PHONE, timeout: 5 })).body;
    expect(idsOf(messages)).to.deep.equal(after);
    expect(gaps).to.deep.equal([
      { topic: 'orders', from: offsetOf(first[2]), to: offsetOf(lost[1]), reason: 'stream_reset' },
    ]);
    await stranger.stop();
  });

  it('everything: who is connected goes on with what is published afterwards', async () => {
    const live = await WsClient.connect(other, { token });
    await live.subscribe(['orders']);
    await publishAll(1, 5);
    await live.nextMessages(5);
    const admin = connectAsAdmin(server);
    await admin.flushall();
    admin.disconnect();
    const after = await publishAll(6, 10);
    expect(idsOf(await live.nextMessages(5))).to.deep.equal(after);
  });
});
