import { expect } from 'chai';
import { freshTopic, metric, payloads, poll, publish, WsClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

describe('unruly clients', () => {
  let proxy: Proxy;
  let token: string;
  let topic: string;

  before(async () => {
    proxy = await startProxy();
    token = await proxy.token('alice', { topics: { subscribe: ['>'], publish: ['>'] } });
  });
  after(() => proxy.stop());
  beforeEach(() => (topic = freshTopic()));

  it('are answered for every frame of a flood, if only that it was too much', async () => {
    const count = 5_000;
    const client = await WsClient.connect(proxy, { token });
    for (let i = 0; i < count; i++) client.send({ type: 'publish', id: i, topic, payload: i });
    await eventually(() => expect(client.frames).to.have.length(count), 10_000);
    expect(new Set(client.frames.map(({ id }) => id)).size).to.equal(count);
    const refused = client.frames.filter(({ type }) => type === 'error');
    for (const { code, temporary } of refused)
      expect([code, temporary]).to.deep.equal(['too_many_requests', true]);
    const stored: unknown[] = [];
    for (let page: readonly unknown[] = [0]; page.length > 0;) {
      const { body } = await poll(proxy, token, {
        topics: topic,
        from: 'earliest',
        max: 1000,
        delivery: 'at_most_once',
        client_id: topic,
      });
      page = payloads(body.messages);
      stored.push(...page);
    }
    const published = client.frames.filter(({ type }) => type === 'published').map(({ id }) => id);
    expect(stored).to.have.members(published);
    await client.close();
  });

  it('leave nothing behind when they hang up right after subscribing', async () => {
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const client = await WsClient.connect(proxy, { token });
        client.send({ type: 'subscribe', topics: [topic], client_id: i % 2 === 0 ? topic : undefined });
        await client.terminate();
      }),
    );
    await eventually(async () =>
      expect(await metric(proxy, 'proxy_connections_total{type="websocket"}')).to.equal(0),
    );
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe([topic], { client_id: topic });
    const id = await publish(proxy, topic, 'mine');
    expect((await client.next('message')).payload).to.equal('mine');
    await client.ack(id);
    expect(await metric(proxy, `proxy_queue_depth{topic="${topic}"}`)).to.equal(0);
    await client.close();
  });

  it('may subscribe and unsubscribe as fast as they like', async () => {
    const client = await WsClient.connect(proxy, { token });
    for (let i = 0; i < 200; i++) {
      client.send({ type: 'subscribe', topics: [topic], client_id: topic });
      client.send({ type: 'unsubscribe', topics: [topic] });
    }
    await client.subscribe([topic], { client_id: topic });
    await publish(proxy, topic, 'at last');
    expect((await client.next('message')).payload).to.equal('at last');
    expect(client.frames.filter(({ type }) => type === 'error')).to.deep.equal([]);
    await client.close();
  });
});
