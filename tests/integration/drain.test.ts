/** SIGTERM: everybody is answered, everything is recorded, and the process ends by itself. */
import { expect } from 'chai';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { json } from 'node:stream/consumers';
import { once } from 'node:events';
import { payloads, poll, post, publish, request, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import type { ProxyProcess, SpawnOptions } from '../support/proxy.js';
import { randomKeyPrefix, sharedValkey } from '../support/shared-valkey.js';
import { startValkey, type ValkeyServer } from '../support/valkey-server.js';
import { ackAll, idsOf, pollUntil, spawnReady } from './fleet.js';

/** Far below the drain time of 25 s: nobody is waited for who has nothing left to say. */
const SOON_MS = 3_000;

describe('a proxy that is asked to end', () => {
  let proxy: ProxyProcess;

  afterEach(async () => {
    proxy.kill('SIGKILL');
    await proxy.exited;
  });

  const start = async (options: SpawnOptions): Promise<string> => {
    proxy = await spawnReady(options);
    return proxy.token('alice', { topics: { publish: ['>'], subscribe: ['>'] } });
  };

  const onSharedValkey = async (): Promise<SpawnOptions> => ({
    driver: 'valkey',
    valkey: { port: (await sharedValkey()).port, keyPrefix: randomKeyPrefix() },
  });

  /** Sends SIGTERM and expects the end to be soon and good. */
  const end = async (withinMs = SOON_MS): Promise<void> => {
    const began = performance.now();
    proxy.kill('SIGTERM');
    expect(await proxy.exited, proxy.stdout() + proxy.stderr()).to.deep.equal({ code: 0, signal: null });
    expect(performance.now() - began).to.be.below(withinMs);
    expect(proxy.stderr()).to.equal('');
  };

  const drains = (): Promise<void> => eventually(() => expect(proxy.stdout()).to.include('"draining"'));

  /** What /ready answers to a new connection. */
  const readyNow = async (): Promise<{ readonly status: number | undefined; readonly problems: unknown }> => {
    const [response] = (await once(get(`${proxy.url}/ready`, { agent: false }), 'response')) as [
      IncomingMessage,
    ];
    const { problems } = (await json(response)) as { readonly problems: unknown };
    return { status: response.statusCode, problems };
  };

  for (const driver of ['memory', 'valkey'] as const) {
    it(`on ${driver}: polls are answered 200, sockets closed as going away, and it ends well`, async () => {
      const token = await start(driver === 'valkey' ? await onSharedValkey() : { driver });
      const clients = await Promise.all([1, 2, 3].map(() => WsClient.connect(proxy, { token })));
      await Promise.all(clients.map((client) => client.subscribe(['orders'])));
      const idle = await WsClient.connect(proxy, { token });
      // The first of each opens its subscription; that the second waits can be seen in the metrics.
      const waiting = [1, 2, 3].map((i) =>
        poll(proxy, token, { topics: 'orders', client_id: `c${i}`, timeout: 30 }),
      );
      await eventually(async () => {
        const { text } = await request(proxy, 'GET', '/metrics');
        expect(text).to.match(/proxy_connections_total\{[^}]*long_poll[^}]*\} 3/);
      });
      const ended = end();
      for (const answer of await Promise.all(waiting)) {
        expect(answer.status).to.equal(200);
        expect(answer.body.messages).to.deep.equal([]);
      }
      for (const { code } of await Promise.all([...clients, idle].map(({ closed }) => closed))) {
        expect(code).to.be.oneOf([1001, 1012]);
      }
      await ended;
    });
  }

  it('has recorded what was acknowledged: after a restart it is not delivered again, and the rest is', async () => {
    const options = await onSharedValkey();
    const token = await start(options);
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe(['orders'], { client_id: 'phone' });
    for (let i = 1; i <= 10; i++) await publish(proxy, 'orders', i);
    const received = await client.nextMessages(10);
    // Answered, but not recorded yet: that happens a moment later, or now.
    await client.ack(...idsOf(received.slice(0, 7)));
    await end();

    await start(options);
    const came = await pollUntil([proxy], token, { topics: 'orders', client_id: 'phone' }, 3);
    expect(payloads(came)).to.deep.equal([8, 9, 10]);
    await ackAll(proxy, token, came, 'phone');
    await end();
  });

  it('is not held up by connections on which nothing is asked, or only half a question', async () => {
    await start({ driver: 'memory', config: { server: { drain_timeout: '2s' } } });
    const { port } = new URL(proxy.url);
    const silent = connect(Number(port), '127.0.0.1');
    const half = connect(Number(port), '127.0.0.1');
    await Promise.all([once(silent, 'connect'), once(half, 'connect')]);
    half.write('POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n');
    half.write(`Authorization: Bearer ${proxy.publishKey}\r\nContent-Length: 100\r\n\r\n{"topic":`);
    for (const socket of [silent, half]) socket.on('error', () => undefined);
    await request(proxy, 'GET', '/health');
    await end();
    silent.destroy();
    half.destroy();
  });

  it('accepts nothing new', async () => {
    const token = await start(await onSharedValkey());
    await end();
    expect(await post(proxy, { topic: 'orders', payload: 1 }).catch(() => 'refused')).to.equal('refused');
    expect(await WsClient.connect(proxy, { token }).catch(() => 'refused')).to.equal('refused');
  });

  it('goes on for the drain delay, in which it says that it is not ready', async () => {
    // Long enough for a slow machine to ask its questions in.
    await start({ driver: 'memory', config: { server: { drain_delay: '3s' } } });
    const token = await proxy.token();
    const ended = end(3_000 + SOON_MS);
    await drains();
    // Each on a connection of its own: those are accepted, too.
    expect(await readyNow()).to.deep.equal({ status: 503, problems: ['shutting down'] });
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe(['orders']);
    expect((await post(proxy, { topic: 'orders', payload: 1 })).status).to.equal(201);
    expect((await client.next('message')).payload).to.equal(1);
    await ended;
    expect((await client.closed).code).to.be.oneOf([1001, 1012]);
    expect(await post(proxy, { topic: 'orders', payload: 2 }).catch(() => 'refused')).to.equal('refused');
  });

  it('under load answers every publish that it has taken, and each of those is stored', async () => {
    const options = await onSharedValkey();
    const token = await start(options);
    await poll(proxy, token, { topics: 'orders', client_id: 'phone' });
    const stored: string[] = [];
    const others: string[] = [];
    const traffic = { isOver: false };
    const publisher = async (): Promise<void> => {
      while (!traffic.isOver) {
        const answer = await post(proxy, { topic: 'orders', payload: 1 }).catch(
          (error: unknown) => error as Error,
        );
        if (answer instanceof Error) {
          // Not a connection that was cut with a question on it: one that was never accepted.
          const { cause } = answer as { readonly cause?: { readonly code?: string } };
          if (cause?.code !== 'ECONNREFUSED') others.push(String(cause?.code ?? answer));
          return;
        }
        if (answer.status === 201) stored.push(answer.body.message_id);
        else others.push(String(answer.status));
      }
    };
    const publishers = Array.from({ length: 20 }, publisher);
    await eventually(() => expect(stored.length).to.be.above(200));
    await end();
    traffic.isOver = true;
    await Promise.all(publishers);
    expect(others.filter((other) => other !== '503')).to.deep.equal([]);
    await start(options);
    const came = await pollUntil([proxy], token, { topics: 'orders', client_id: 'phone' }, stored.length);
    expect(idsOf(came)).to.have.members(stored);
  });

  describe('while Valkey is slow', () => {
    let server: ValkeyServer;

    beforeEach(async () => {
      server = await startValkey();
    });
    afterEach(() => server.kill());

    const onIt = (drainTimeout = '25s'): SpawnOptions => ({
      driver: 'valkey',
      valkey: { port: server.port },
      config: { server: { drain_timeout: drainTimeout } },
    });

    /** Something to record, so that there is something to wait for. */
    const leaveSomethingToRecord = async (token: string): Promise<WsClient> => {
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['orders'], { client_id: 'phone' });
      await publish(proxy, 'orders', 1);
      const message = await client.next('message');
      server.freeze();
      client.send({ type: 'ack', message_id: message.message_id });
      await client.sync();
      return client;
    };

    /** Connections are accepted in their order, so what was sent before some new ones were answered has arrived. */
    const arrived = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) {
        const asked = get(`${proxy.url}/health`, { agent: false });
        const [response] = (await once(asked, 'response')) as [IncomingMessage];
        await once(response.resume(), 'end');
      }
    };

    it('publishes that were under way are answered when they are stored', async () => {
      await start(onIt());
      await publish(proxy, 'orders', 0);
      server.freeze();
      const asked = [1, 2, 3].map((i) => post(proxy, { topic: 'orders', payload: i }));
      await arrived();
      const ended = end();
      await drains();
      server.thaw();
      for (const answer of await Promise.all(asked)) expect(answer.status).to.equal(201);
      await ended;
    });

    it('a publish frame that was under way is answered before the socket is closed', async () => {
      await start(onIt());
      const token = await proxy.token('bob', { topics: { publish: ['>'], subscribe: ['>'] } });
      const client = await WsClient.connect(proxy, { token });
      await client.request({ type: 'publish', topic: 'orders', payload: 0 });
      server.freeze();
      client.send({ type: 'publish', id: 'late', topic: 'orders', payload: 1 });
      await arrived();
      const ended = end();
      await drains();
      server.thaw();
      expect(await client.next('published')).to.include({ id: 'late', topic: 'orders' });
      await ended;
    });

    it('a second SIGTERM ends it at once, with exit code 1', async () => {
      await leaveSomethingToRecord(await start(onIt()));
      proxy.kill('SIGTERM');
      await drains();
      const began = performance.now();
      proxy.kill('SIGTERM');
      expect(await proxy.exited).to.deep.equal({ code: 1, signal: null });
      expect(performance.now() - began).to.be.below(1_000);
      expect(proxy.stderr()).to.include('SIGTERM');
    });

    it('it ends at the latest when the drain time is over, with exit code 1', async () => {
      await leaveSomethingToRecord(await start(onIt('400ms')));
      const began = performance.now();
      proxy.kill('SIGTERM');
      expect(await proxy.exited).to.deep.equal({ code: 1, signal: null });
      expect(performance.now() - began).to.be.within(350, 1_500);
      expect(proxy.stdout()).to.include('drain_timeout');
    });

    it('and if Valkey is gone, it ends well all the same', async () => {
      const token = await start(onIt());
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['orders'], { client_id: 'phone' });
      await publish(proxy, 'orders', 1);
      await client.next('message');
      await server.kill();
      await end();
    });
  });
});
