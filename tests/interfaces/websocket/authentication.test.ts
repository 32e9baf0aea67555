import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import {
  freshTopic,
  metric,
  payloads,
  poll,
  publish,
  request,
  sendBytes,
  WsClient,
} from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { startProxy, type Proxy } from '../../support/proxy.js';
import { CLOSE, maskedFrame, TEXT, upgradeRequest } from './raw-frames.js';

describe('who may connect by WebSocket', () => {
  let clock: ManualClock;
  let proxy: Proxy;

  before(async () => {
    clock = new ManualClock();
    proxy = await startProxy({ clock });
  });
  after(() => proxy.stop());

  const secondsFromNow = (seconds: number): number => clock.now() / 1000 + seconds;

  describe('a token', () => {
    const works = async (client: WsClient): Promise<void> => {
      const topic = freshTopic();
      await client.subscribe([topic]);
      await publish(proxy, topic, 'hello');
      expect((await client.next('message')).payload).to.equal('hello');
      await client.close();
    };

    it('may come in the query', async () => {
      await works(await WsClient.connect(proxy, { queryToken: await proxy.token() }));
    });

    it('may come in the Authorization header', async () => {
      await works(await WsClient.connect(proxy, { token: await proxy.token() }));
    });

    it('may come in an auth frame', async () => {
      const client = await WsClient.connect(proxy);
      const answer = await client.request({ type: 'auth', token: await proxy.token() });
      expect(answer.type).to.equal('authenticated');
      await works(client);
    });

    it('may be an API key that has grants to subscribe or to publish', async () => {
      const client = await WsClient.connect(proxy, { token: proxy.publishKey });
      expect((await client.request({ type: 'publish', topic: 't', payload: 1 })).type).to.equal('published');
      expect((await client.request({ type: 'subscribe', topics: ['t'] })).code).to.equal('forbidden');
      await client.close();
    });

    it('closes with 4501 where it is not valid, wherever it is', async () => {
      const expired = await proxy.token('alice', { exp: secondsFromNow(-60) });
      for (const options of [{ queryToken: 'nobody' }, { token: 'nobody' }, { token: expired }]) {
        const client = await WsClient.connect(proxy, options);
        expect(await client.closed).to.deep.equal({ code: 4501, reason: 'invalid token' });
      }
      const client = await WsClient.connect(proxy);
      client.send({ type: 'auth', token: 'nobody' });
      expect((await client.closed).code).to.equal(4501);
    });
  });

  describe('without a token', () => {
    it('closes with 4001 after five seconds, and not before', async () => {
      const client = await WsClient.connect(proxy);
      clock.advance(4_999);
      await client.sync();
      clock.advance(1);
      expect(await client.closed).to.deep.equal({ code: 4001, reason: 'no token in time' });
    });

    it('does not close who has sent one in time', async () => {
      const client = await WsClient.connect(proxy);
      await client.request({ type: 'auth', token: await proxy.token() });
      clock.advance(6_000);
      await client.sync();
      await client.close();
    });

    it('answers every frame but auth and ping with an error, and lives on', async () => {
      const client = await WsClient.connect(proxy);
      const frames = [
        { type: 'subscribe', topics: ['t'] },
        { type: 'unsubscribe', topics: ['t'] },
        { type: 'ack', message_id: 't:1-0' },
        { type: 'publish', topic: 't', payload: 1 },
      ];
      for (const frame of frames) {
        const answer = await client.request(frame);
        expect(answer).to.include({ type: 'error', code: 'unauthorized', temporary: false });
      }
      await client.sync();
      await client.close();
    });

    it('lets frames that come right behind the auth frame wait for it', async () => {
      const client = await WsClient.connect(proxy);
      const topic = freshTopic();
      client.send({ type: 'auth', token: await proxy.token() });
      client.send({ type: 'subscribe', topics: [topic] });
      await client.next('subscribed');
      expect(client.frames.map(({ type }) => type)).to.deep.equal(['authenticated', 'subscribed']);
      await client.close();
    });
  });

  describe('when a token expires', () => {
    it('closes with 4401', async () => {
      const client = await WsClient.connect(proxy, {
        token: await proxy.token('alice', { exp: secondsFromNow(20) }),
      });
      clock.advance(19_999);
      await client.sync();
      clock.advance(1);
      expect(await client.closed).to.deep.equal({ code: 4401, reason: 'token expired' });
    });

    it('goes on where an auth frame has brought a new one of the same user', async () => {
      const topic = freshTopic();
      const client = await WsClient.connect(proxy, {
        token: await proxy.token('alice', { exp: secondsFromNow(10) }),
      });
      await client.subscribe([topic]);
      const renewed = await proxy.token('alice', { exp: secondsFromNow(20) });
      expect((await client.request({ type: 'auth', token: renewed })).type).to.equal('authenticated');
      clock.advance(10_000);
      await publish(proxy, topic, 'still here');
      expect((await client.next('message')).payload).to.equal('still here');
      clock.advance(10_000);
      expect((await client.closed).code).to.equal(4401);
    });

    it('takes no token of another user', async () => {
      const client = await WsClient.connect(proxy, { token: await proxy.token('alice') });
      client.send({ type: 'auth', token: await proxy.token('bob') });
      expect((await client.closed).code).to.equal(4501);
    });

    it('does nothing more for a client that does not go', async () => {
      const topic = freshTopic();
      const claims = { exp: secondsFromNow(10), topics: { publish: ['>'] } };
      const { hostname, port } = new URL(proxy.url);
      const socket = connect(Number(port), hostname);
      let answered = Buffer.alloc(0);
      socket.on('data', (bytes: Buffer) => (answered = Buffer.concat([answered, bytes])));
      socket.write(upgradeRequest(`/ws?token=${await proxy.token('alice', claims)}`));
      await eventually(() => expect(answered.toString('latin1')).to.match(/^HTTP\/1\.1 101 .*\r\n\r\n/s));
      clock.advance(10_000);
      await eventually(() => expect(answered.toString('latin1')).to.include('token expired'));
      socket.write(maskedFrame(TEXT, JSON.stringify({ type: 'publish', topic, payload: 'too late' })));
      socket.write(maskedFrame(CLOSE, Buffer.from([0x11, 0x31])));
      await once(socket, 'close');
      const { body } = await poll(proxy, await proxy.token(topic), { topics: topic, from: 'earliest' });
      expect(payloads(body.messages)).to.deep.equal([]);
    });
  });

  describe('what a client can do to the others', () => {
    it('is nothing when it is refused and goes on with what is no WebSocket', async () => {
      await sendBytes(proxy, upgradeRequest('/ws?token=nobody'), Buffer.from([TEXT, 1, 0x61, 0xff, 0xff]));
      expect((await request(proxy, 'GET', '/health')).status).to.equal(200);
    });

    it('is not to use up connections by hanging up while its token is looked at', async () => {
      const small = await startProxy({ config: { limits: { max_connections_per_instance: 3 } } });
      try {
        const { hostname, port } = new URL(small.url);
        for (let i = 0; i < 30; i++) {
          // Another token each time, so that none is remembered and each has to be looked at.
          const path = `/ws?token=${await small.token(`user-${i}`)}`;
          const socket = connect(Number(port), hostname);
          await once(socket, 'connect');
          await new Promise((resolve) => socket.write(upgradeRequest(path), resolve));
          socket.resetAndDestroy();
        }
        await eventually(async () =>
          expect(await metric(small, 'proxy_connections_total{type="websocket"}')).to.equal(0),
        );
        const token = await small.token();
        const clients = await Promise.all([1, 2, 3].map(() => WsClient.connect(small, { token })));
        await Promise.all(clients.map((client) => client.close()));
      } finally {
        await small.stop();
      }
    });
  });
});
