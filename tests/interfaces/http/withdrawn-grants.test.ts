import { expect } from 'chai';
import { freshTopic, payloads, poll, publish, WsClient } from '../../support/client.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

describe('a grant that is withdrawn with a new token', () => {
  let proxy: Proxy;
  let topic: string;
  let user: string;

  before(async () => {
    proxy = await startProxy();
  });
  after(() => proxy.stop());
  beforeEach(() => {
    topic = freshTopic();
    user = `user-of-${topic}`;
  });

  const tokenFor = (...subscribe: readonly string[]): Promise<string> =>
    proxy.token(user, { topics: { subscribe } });

  it('is gone for polls that name the topic', async () => {
    await poll(proxy, await tokenFor(`${topic}.a`, `${topic}.b`), { topics: `${topic}.a,${topic}.b` });
    await publish(proxy, `${topic}.b`, 'secret');
    const answer = await poll(proxy, await tokenFor(`${topic}.a`), { topics: `${topic}.b` });
    expect(answer.status).to.equal(403);
  });

  it('is gone for polls by a pattern', async () => {
    await publish(proxy, `${topic}.b`, 'old');
    await poll(proxy, await tokenFor(`${topic}.>`), { topics: `${topic}.>` });
    await publish(proxy, `${topic}.b`, 'secret');
    const answer = await poll(proxy, await tokenFor(`${topic}.a`), { topics: `${topic}.>` });
    expect(payloads(answer.body.messages)).to.deep.equal([]);
  });

  it('is gone for connections that name the topic', async () => {
    const first = await WsClient.connect(proxy, { token: await tokenFor(`${topic}.a`, `${topic}.b`) });
    await first.subscribe([`${topic}.a`, `${topic}.b`], { client_id: 'phone' });
    await first.close();
    await publish(proxy, `${topic}.b`, 'secret');
    const second = await WsClient.connect(proxy, { token: await tokenFor(`${topic}.a`) });
    const answer = await second.request({
      type: 'subscribe',
      topics: [`${topic}.a`, `${topic}.b`],
      client_id: 'phone',
    });
    expect(answer).to.include({ type: 'error', code: 'forbidden' });
    await second.close();
  });

  it('is gone for connections that go on with the topics of before', async () => {
    const first = await WsClient.connect(proxy, { token: await tokenFor(`${topic}.a`, `${topic}.b`) });
    await first.subscribe([`${topic}.a`, `${topic}.b`], { client_id: 'phone' });
    await first.close();
    await publish(proxy, `${topic}.b`, 'secret');
    const second = await WsClient.connect(proxy, { token: await tokenFor(`${topic}.a`) });
    await second.subscribe([`${topic}.a`], { client_id: 'phone' });
    await publish(proxy, `${topic}.b`, 'another secret');
    await publish(proxy, `${topic}.a`, 'granted');
    await second.next('message');
    await second.sync();
    expect(payloads(second.messages)).to.deep.equal(['granted']);
    await second.close();
  });

  it('is gone for a connection that renews its token', async () => {
    const client = await WsClient.connect(proxy, { token: await tokenFor(`${topic}.a`, `${topic}.b`) });
    await client.subscribe([`${topic}.a`, `${topic}.b`]);
    await client.request({ type: 'auth', token: await tokenFor(`${topic}.a`) });
    await publish(proxy, `${topic}.b`, 'secret');
    await publish(proxy, `${topic}.a`, 'granted');
    await client.next('message');
    await client.sync();
    expect(payloads(client.messages)).to.deep.equal(['granted']);
    await client.close();
  });
});
