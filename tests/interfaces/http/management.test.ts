import { expect } from 'chai';
import { ack, metric, poll, publish, request, WsClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

describe('addresses and methods', () => {
  let proxy: Proxy;

  before(async () => {
    proxy = await startProxy();
  });
  after(() => proxy.stop());

  it('answers 404 as a problem where there is nothing, without asking for a token', async () => {
    for (const path of [
      '/',
      '/api',
      '/api/v1',
      '/api/v1/message',
      '/api/v2/messages',
      '/metrics/x',
      '/%00',
      '/..%2f',
    ]) {
      const answer = await request(proxy, 'GET', path);
      expect(answer.status, path).to.equal(404);
      expect(answer.headers.get('content-type')).to.match(/^application\/problem\+json/);
      expect(answer.body).to.include({ code: 'not_found', status: 404, temporary: false });
      expect(answer.body.title).to.be.a('string');
      expect(answer.body.detail).to.be.a('string');
    }
  });

  it('answers 405 and says what is allowed where the method is another', async () => {
    const cases = [
      ['GET', '/api/v1/messages', 'POST'],
      ['PUT', '/api/v1/messages/bulk', 'POST'],
      ['DELETE', '/api/v1/ack', 'POST'],
      ['POST', '/api/v1/poll', 'HEAD, GET'],
      ['POST', '/health', 'HEAD, GET'],
      ['PATCH', '/metrics', 'HEAD, GET'],
    ] as const;
    for (const [method, path, allowed] of cases) {
      const answer = await request(proxy, method, path);
      expect(answer.status, path).to.equal(405);
      expect(answer.headers.get('allow'), path).to.equal(allowed);
      expect(answer.body).to.include({ code: 'method_not_allowed', status: 405 });
    }
  });

  it('answers 405 to a method that it has never heard of', async () => {
    const answer = await request(proxy, 'PROPFIND', '/health');
    expect(answer.status).to.equal(405);
    expect(answer.body.code).to.equal('method_not_allowed');
  });

  it('says at /health that it lives and which version it is', async () => {
    const answer = await request(proxy, 'GET', '/health');
    expect(answer.status).to.equal(200);
    expect(answer.body).to.deep.equal({ status: 'ok', version: '0.0.0-test' });
  });

  it('says at /ready that it can do its work', async () => {
    const answer = await request(proxy, 'GET', '/ready');
    expect(answer.status).to.equal(200);
    expect(answer.body).to.deep.equal({ status: 'ready', problems: [] });
  });

  it('says at /ready that it cannot do its work while Valkey is out of reach, and stays healthy', async () => {
    const away = await startProxy({ driver: 'valkey', valkey: { port: 1 } });
    try {
      const ready = await request(away, 'GET', '/ready');
      expect(ready.status).to.equal(503);
      expect(ready.body).to.have.property('status', 'not_ready');
      expect((await request(away, 'GET', '/health')).status).to.equal(200);
    } finally {
      await away.stop();
    }
  });
});

describe('GET /metrics', () => {
  let proxy: Proxy;
  let token: string;

  beforeEach(async () => {
    proxy = await startProxy();
    token = await proxy.token();
  });
  afterEach(() => proxy.stop());

  it('speaks the text format of Prometheus and has all five metrics from the start', async () => {
    const answer = await request(proxy, 'GET', '/metrics');
    expect(answer.status).to.equal(200);
    expect(answer.headers.get('content-type')).to.match(/^text\/plain; version=0\.0\.4/);
    const names = [
      'proxy_connections_total',
      'proxy_messages_received_total',
      'proxy_messages_delivered_total',
      'proxy_message_latency_seconds',
      'proxy_queue_depth',
    ];
    for (const name of names) expect(answer.text).to.include(`# TYPE ${name} `);
  });

  it('counts open connections by type, up and down', async () => {
    const sockets = 'proxy_connections_total{type="websocket"}';
    const polls = 'proxy_connections_total{type="long_poll"}';
    const client = await WsClient.connect(proxy, { token });
    const waiting = poll(proxy, token, { topics: 't', timeout: 30 });
    await eventually(async () => {
      expect(await metric(proxy, sockets)).to.equal(1);
      expect(await metric(proxy, polls)).to.equal(1);
    });
    await client.close();
    await publish(proxy, 't', 1);
    await waiting;
    await eventually(async () => {
      expect(await metric(proxy, sockets)).to.equal(0);
      expect(await metric(proxy, polls)).to.equal(0);
    });
  });

  it('counts messages in and out, and how long they took', async () => {
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe(['t']);
    await poll(proxy, token, { topics: 't' });
    for (let i = 0; i < 3; i++) await publish(proxy, 't', i);
    await client.nextMessages(3);
    await poll(proxy, token, { topics: 't' });
    expect(await metric(proxy, 'proxy_messages_received_total')).to.equal(3);
    for (const type of ['websocket', 'long_poll']) {
      expect(await metric(proxy, `proxy_messages_delivered_total{type="${type}"}`)).to.equal(3);
      expect(await metric(proxy, `proxy_message_latency_seconds_count{type="${type}"}`)).to.be.at.least(1);
    }
  });

  it('tells for each topic how far the slowest subscriber is behind', async () => {
    const depth = 'proxy_queue_depth{topic="t"}';
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe(['t'], { client_id: 'slow', max_in_flight: 1 });
    const ids = [await publish(proxy, 't', 1), await publish(proxy, 't', 2), await publish(proxy, 't', 3)];
    await client.next('message');
    expect(await metric(proxy, depth)).to.equal(3);
    await client.ack(ids[0]!);
    await client.next('message');
    expect(await metric(proxy, depth)).to.equal(2);
    expect((await ack(proxy, token, [ids[1]!], 'slow')).body.acknowledged).to.equal(1);
  });
});
