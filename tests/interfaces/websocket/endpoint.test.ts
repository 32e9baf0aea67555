import { connect, createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { expect } from 'chai';
import {
  freshTopic,
  metric,
  poll,
  publish,
  refusedUpgrade,
  request,
  sendBytes,
  WsClient,
  type ItemResult,
} from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { startProxy, type Proxy } from '../../support/proxy.js';
import { BINARY, maskedFrame, TEXT, upgradeRequest } from './raw-frames.js';

const MESSAGE_BYTES_MAX = 1000;
const FRAME_BYTES_MAX = MESSAGE_BYTES_MAX + 64 * 1024;
const PING_INTERVAL_MS = 25_000;

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
};

describe('the WebSocket endpoint', () => {
  let proxy: Proxy;
  let token: string;

  before(async () => {
    proxy = await startProxy({ config: { limits: { max_message_size: MESSAGE_BYTES_MAX } } });
    token = await proxy.token();
  });
  after(() => proxy.stop());

  describe('the upgrade', () => {
    it('is refused with 404 at any other path', async () => {
      for (const path of ['/', '/ws/', '/wss', '/api/v1/messages']) {
        const answer = await refusedUpgrade(proxy.url + path, { authorization: `Bearer ${token}` });
        expect(answer.status, path).to.equal(404);
        expect(answer.headers['content-type']).to.equal('application/problem+json');
        expect(answer.body).to.include({ code: 'not_found', status: 404 });
      }
    });

    it('is answered with 404 where the path is no path at all', async () => {
      expect(await sendBytes(proxy, upgradeRequest('//'))).to.match(/^HTTP\/1\.1 404 /);
    });

    it('finds /ws in a target in absolute form, as a proxy may send it', async () => {
      const answer = await sendBytes(
        proxy,
        upgradeRequest(`http://localhost/ws?token=${token}`),
        maskedFrame(0x88, ''),
      );
      expect(answer).to.match(/^HTTP\/1\.1 101 /);
    });

    it('is refused with 503 and Retry-After where there are too many connections', async () => {
      const small = await startProxy({ config: { limits: { max_connections_per_instance: 2 } } });
      try {
        const clients = [await WsClient.connect(small, { token }), await WsClient.connect(small, { token })];
        const refused = await refusedUpgrade(`${small.url}/ws`);
        expect(refused.status).to.equal(503);
        expect(refused.headers['retry-after']).to.equal('1');
        expect(refused.body).to.include({ code: 'too_many_connections', temporary: true });
        expect((await poll(small, token, { topics: 't' })).status).to.equal(503);
        await clients[0]!.close();
        await eventually(async () => {
          const client = await WsClient.connect(small, { token });
          await client.close();
        });
        await clients[1]!.close();
      } finally {
        await small.stop();
      }
    });

    it('gives the place back of whoever it has refused for its token', async () => {
      const small = await startProxy({ config: { limits: { max_connections_per_instance: 1 } } });
      try {
        for (let i = 0; i < 3; i++) {
          await eventually(async () => {
            const client = await WsClient.connect(small, { token: 'nobody' });
            expect((await client.closed).code).to.equal(4501);
          });
        }
      } finally {
        await small.stop();
      }
    });

    it('speaks pulsar-proxy.v1 with whoever offers it, and without a name with everybody else', async () => {
      const protocolOf = async (...protocols: string[]): Promise<string> => {
        const client = await WsClient.connect(proxy, { token, protocols });
        await client.close();
        return client.socket.protocol;
      };
      expect(await protocolOf('pulsar-proxy.v1')).to.equal('pulsar-proxy.v1');
      expect(await protocolOf('other', 'pulsar-proxy.v1')).to.equal('pulsar-proxy.v1');
      expect(await protocolOf()).to.equal('');
      const answer = await sendBytes(
        proxy,
        upgradeRequest(`/ws?token=${token}`, { 'Sec-WebSocket-Protocol': 'other' }),
        maskedFrame(BINARY, 'bye'),
        maskedFrame(0x88, ''),
      );
      expect(answer).to.match(/^HTTP\/1\.1 101 /);
      expect(answer).not.to.match(/sec-websocket-protocol/i);
    });

    it('does not compress, whoever offers to', async () => {
      const client = await WsClient.connect(proxy, { token, options: { perMessageDeflate: true } });
      expect(client.socket.extensions).to.equal('');
      await client.close();
    });

    it('is refused with a problem where it is no WebSocket handshake, and the proxy lives on', async () => {
      const bad = [
        ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Version: 7', 426, 'upgrade_required', undefined],
        [/Sec-WebSocket-Key: [^\r]*/, 'Sec-WebSocket-Key: x', 400, 'invalid_request', 'Sec-WebSocket-Key'],
        ['GET', 'POST', 405, 'method_not_allowed', undefined],
        [
          '\r\n\r\n',
          '\r\nSec-WebSocket-Protocol: a,,b\r\n\r\n',
          400,
          'invalid_request',
          'Sec-WebSocket-Protocol',
        ],
      ] as const;
      for (const [part, instead, status, code, field] of bad) {
        const answer = await sendBytes(proxy, upgradeRequest('/ws').replace(part, instead));
        const [head = '', body = ''] = answer.split('\r\n\r\n');
        expect(head, instead).to.match(new RegExp(`^HTTP/1\\.1 ${status} `));
        expect(head).to.match(/content-type: application\/problem\+json/i);
        const problem = JSON.parse(body) as ItemResult;
        expect([problem.status, problem.code, problem.field]).to.deep.equal([status, code, field]);
        if (status === 426) expect(head).to.match(/sec-websocket-version: 13/i);
        if (status === 405) expect(head).to.match(/allow: GET/i);
      }
      expect((await request(proxy, 'GET', '/health')).status).to.equal(200);
    });

    it('is asked for where a plain request comes to /ws', async () => {
      const answer = await request(proxy, 'GET', '/ws');
      expect(answer.status).to.equal(426);
      expect(answer.headers.get('upgrade')).to.equal('websocket');
      expect(answer.body).to.include({ code: 'upgrade_required', status: 426, temporary: false });
      const posted = await request(proxy, 'POST', '/ws', { body: {} });
      expect([posted.status, posted.body.code]).to.deep.equal([405, 'method_not_allowed']);
    });

    it('is served at the port of the HTTP API and at the port for WebSockets', async () => {
      const wsPort = await freePort();
      const two = await startProxy({ config: { server: { ws_port: wsPort } } });
      try {
        expect(two.wsUrl).to.equal(`ws://127.0.0.1:${wsPort}/ws`);
        for (const url of [two.wsUrl, `${two.url.replace('http', 'ws')}/ws`]) {
          const topic = freshTopic();
          const client = await WsClient.connect(url, { token });
          await client.subscribe([topic]);
          await publish(two, topic, url);
          expect((await client.next('message')).payload).to.equal(url);
          await client.close();
        }
      } finally {
        await two.stop();
      }
    });
  });

  describe('what it closes for', () => {
    const closedFor = async (...bytes: readonly Uint8Array[]): Promise<number> => {
      const answer = await sendBytes(proxy, upgradeRequest(`/ws?token=${token}`), ...bytes);
      const frame = Buffer.from(answer.slice(answer.indexOf('\r\n\r\n') + 4), 'latin1');
      expect(frame[0], 'a close frame').to.equal(0x88);
      return frame.readUInt16BE(2);
    };

    it('closes with 1003 for a binary frame', async () => {
      const client = await WsClient.connect(proxy, { token });
      client.socket.send(Buffer.from('{"type":"ping"}'));
      expect(await client.closed).to.deep.equal({ code: 1003, reason: 'text frames only' });
    });

    it('closes with 1009 for a frame that is too big, and takes one of exactly the limit', async () => {
      const client = await WsClient.connect(proxy, { token });
      client.sendText('{"type":"ping"}'.padEnd(FRAME_BYTES_MAX));
      await client.next('pong');
      client.sendText('{"type":"ping"}'.padEnd(FRAME_BYTES_MAX + 1));
      expect((await client.closed).code).to.equal(1009);
    });

    it('closes with 1002 for a frame that is not masked or has reserved bits', async () => {
      expect(await closedFor(Buffer.from([TEXT, 1, 0x61]))).to.equal(1002);
      expect(await closedFor(maskedFrame(TEXT | 0x40, 'a'))).to.equal(1002);
    });

    it('closes with 1007 for text that is not UTF-8', async () => {
      expect(await closedFor(maskedFrame(TEXT, Buffer.from([0x22, 0xff, 0x22])))).to.equal(1007);
    });

    it('closes with 1008 for a flood of fragments', async () => {
      const fragments = Array.from({ length: 100 }, () => maskedFrame(0x00, 'x'));
      expect(await closedFor(maskedFrame(0x01, 'x'), ...fragments)).to.equal(1008);
    });
  });

  describe('whether a client is still there', () => {
    it('asks every 25 seconds, and cuts off who has not answered by the next time', async () => {
      const clock = new ManualClock();
      const asking = await startProxy({ clock });
      try {
        const alive = await WsClient.connect(asking, { token });
        const silent = await WsClient.connect(asking, { token, options: { autoPong: false } });
        let asked = 0;
        alive.socket.on('ping', () => (asked += 1));
        clock.advance(PING_INTERVAL_MS);
        await eventually(() => expect(asked).to.equal(1));
        await alive.sync();
        clock.advance(PING_INTERVAL_MS);
        expect((await silent.closed).code).to.equal(1006);
        await eventually(() => expect(asked).to.equal(2));
        await alive.sync();
        await alive.close();
      } finally {
        await asking.stop();
      }
    });

    it('does not cut off who does not answer a ping but sends frames', async () => {
      const clock = new ManualClock();
      const asking = await startProxy({ clock });
      try {
        const client = await WsClient.connect(asking, { token, options: { autoPong: false } });
        for (let i = 0; i < 4; i++) {
          clock.advance(PING_INTERVAL_MS);
          await client.sync();
        }
        await client.close();
      } finally {
        await asking.stop();
      }
    });
  });

  describe('when the proxy stops', () => {
    it('sends everybody away with 1012', async () => {
      const stopping = await startProxy();
      const clients = await Promise.all(
        Array.from({ length: 20 }, () => WsClient.connect(stopping, { token })),
      );
      await stopping.stop();
      for (const client of clients)
        expect(await client.closed).to.deep.equal({ code: 1012, reason: 'service restart' });
    });

    it('does not wait for whom it has refused and who does not hang up', async () => {
      const stopping = await startProxy();
      const { hostname, port } = new URL(stopping.url);
      const sockets = await Promise.all(
        ['/nowhere', '/ws?token=nobody', '/ws', '//'].map(async (path) => {
          const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
          socket.on('error', () => undefined);
          socket.write(upgradeRequest(path));
          await once(socket, 'data');
          return socket;
        }),
      );
      await stopping.stop();
      for (const socket of sockets) socket.destroy();
    });
  });

  it('counts itself in the metrics as long as it is open', async () => {
    const series = 'proxy_connections_total{type="websocket"}';
    await eventually(async () => expect(await metric(proxy, series)).to.equal(0));
    const client = await WsClient.connect(proxy, { token });
    await client.sync();
    expect(await metric(proxy, series)).to.equal(1);
    await client.terminate();
    await eventually(async () => expect(await metric(proxy, series)).to.equal(0));
  });
});
