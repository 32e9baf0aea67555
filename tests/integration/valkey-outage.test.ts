/** Valkey goes away and comes back: clients are told the truth meanwhile, and afterwards nobody has to do anything. */
import { expect } from 'chai';
import { ack, payloads, poll, post, publish, request, WsClient, type Answer } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startProxy, type Proxy } from '../support/proxy.js';
import { startValkey, type ValkeyServer } from '../support/valkey-server.js';
import { connectAsAdmin } from '../infrastructure/valkey/valkey-admin.js';
import { idsOf, isReady, pollUntil } from './fleet.js';

/** What a client has to wait for at most (DESIGN.md, section 8). */
const ANSWERED_MS = 2_500;

describe('when Valkey', () => {
  let server: ValkeyServer;
  let proxy: Proxy;
  let token: string;

  beforeEach(async () => {
    server = await startValkey(['--appendfsync', 'always']);
    proxy = await startProxy({ driver: 'valkey', valkey: { port: server.port } });
    await isReady(proxy);
    token = await proxy.token('alice', { topics: { publish: ['>'], subscribe: ['>'] } });
  });
  afterEach(async () => {
    server.thaw();
    await proxy.stop();
    await server.kill();
  });

  const timed = async (asked: () => Promise<Answer>): Promise<Answer> => {
    const began = performance.now();
    const answer = await asked();
    expect(performance.now() - began).to.be.below(ANSWERED_MS);
    return answer;
  };

  const expectUnavailable = (answer: Answer): void => {
    expect(answer.status).to.equal(503);
    expect(answer.headers.get('retry-after')).to.match(/^\d+$/);
    expect(answer.body).to.include({ code: 'storage_unavailable', temporary: true });
    expect(answer.body.outcome).to.be.oneOf(['not_stored', 'unknown']);
  };

  const status = async (path: string): Promise<number> => (await request(proxy, 'GET', path)).status;

  describe('is killed and started again', () => {
    it('publishes are answered 503 meanwhile, sockets stay open, and all that was answered 201 is there', async () => {
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['orders'], { client_id: 'phone' });
      const [stored, refused]: [string[], Answer[]] = [[], []];
      const traffic = { isOver: false };
      const publisher = async (who: number): Promise<void> => {
        for (let i = 0; !traffic.isOver; i++) {
          const answer = await timed(() => post(proxy, { topic: 'orders', payload: [who, i] }));
          if (answer.status === 201) stored.push(answer.body.message_id);
          else {
            refused.push(answer);
            // What a client does that is told to try again later.
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
      };
      const publishers = [1, 2, 3, 4, 5].map(publisher);
      await eventually(() => expect(stored.length).to.be.above(50));

      await server.kill();
      await eventually(async () => expect(await status('/ready')).to.equal(503));
      expect(await status('/health')).to.equal(200);
      await eventually(() => expect(refused.length).to.be.above(20));
      await client.sync();
      await server.restart();
      const storedBefore = stored.length;
      await isReady(proxy);
      await eventually(() => expect(stored.length).to.be.above(storedBefore + 50));
      traffic.isOver = true;
      await Promise.all(publishers);

      refused.forEach(expectUnavailable);
      expect(refused.map(({ body }) => body.outcome)).to.include('not_stored');
      await eventually(() => expect(idsOf(client.messages)).to.include.members(stored), 10_000);
      const ids = idsOf(client.messages);
      expect(ids).to.deep.equal([...new Set(ids)].sort(byOffset));
      expect(client.frames.filter(({ type }) => type === 'gap')).to.deep.equal([]);
      expect(client.socket.readyState).to.equal(client.socket.OPEN);
    });

    it('what asks for the storage is refused in time, and served again afterwards', async () => {
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['orders'], { client_id: 'phone' });
      const id = await publish(proxy, 'orders', 1);
      await client.next('message');
      await server.kill();
      await eventually(async () => expect(await status('/ready')).to.equal(503));

      expectUnavailable(
        await timed(() => poll(proxy, token, { topics: 'orders', client_id: 'other', timeout: 5 })),
      );
      expectUnavailable(await timed(() => ack(proxy, token, [id], 'other')));
      const refused = await client.request({ type: 'publish', topic: 'orders', payload: 1 });
      expect(refused).to.include({
        type: 'error',
        code: 'storage_unavailable',
        temporary: true,
        outcome: 'not_stored',
      });
      const newcomer = await WsClient.connect(proxy, { token });
      const unsubscribed = await newcomer.request({
        type: 'subscribe',
        topics: ['orders'],
        client_id: 'tablet',
      });
      expect(unsubscribed).to.include({ type: 'error', code: 'storage_unavailable', temporary: true });
      // An ack over the socket is not confirmed, but it is taken, and recorded when it can be.
      const unconfirmed = await client.request({ type: 'ack', message_id: id });
      expect(unconfirmed).to.include({ type: 'error', code: 'storage_unavailable', outcome: 'unknown' });

      await server.restart();
      await isReady(proxy);
      await newcomer.subscribe(['orders'], { client_id: 'tablet' });
      await publish(proxy, 'orders', 2);
      expect((await client.next('message')).payload).to.equal(2);
      expect((await newcomer.next('message')).payload).to.equal(2);
      await eventually(async () => expect((await ack(proxy, token, [id], 'phone')).status).to.equal(200));
      await client.close();
      const polled = await pollUntil([proxy], token, { topics: 'orders', client_id: 'phone' }, 1);
      expect(payloads(polled)).to.deep.equal([2]);
    });

    it('a poll that waits goes on waiting and is answered with what is published afterwards', async () => {
      await poll(proxy, token, { topics: 'orders' });
      const waiting = poll(proxy, token, { topics: 'orders', timeout: 20 });
      await publish(proxy, 'other', 0);
      await server.kill();
      await eventually(async () => expect(await status('/ready')).to.equal(503));
      await server.restart();
      await isReady(proxy);
      await publish(proxy, 'orders', 1);
      expect(payloads((await waiting).body.messages)).to.deep.equal([1]);
    });

    it('sockets that subscribed to patterns hear of topics that are created afterwards', async () => {
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['orders.>']);
      await server.kill();
      await eventually(async () => expect(await status('/ready')).to.equal(503));
      await server.restart();
      await isReady(proxy);
      await publish(proxy, 'orders.new', 1);
      expect((await client.next('message')).payload).to.equal(1);
    });

    it('three times over', async () => {
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['orders']);
      for (let round = 1; round <= 3; round++) {
        await server.restart();
        await isReady(proxy);
        await eventually(() => publish(proxy, 'orders', round));
        await eventually(() => expect(payloads(client.messages)).to.include(round));
      }
    });
  });

  describe('is frozen', () => {
    it('publishes are answered 503 in time: unknown for those that were sent, not stored for those after', async () => {
      const client = await WsClient.connect(proxy, { token });
      await client.subscribe(['orders']);
      await publish(proxy, 'orders', 0);
      server.freeze();
      const sent = Array.from({ length: 5 }, (_, i) =>
        timed(() => post(proxy, { topic: 'orders', payload: i })),
      );
      const answers = await Promise.all(sent);
      answers.forEach(expectUnavailable);
      expect(answers.map(({ body }) => body.outcome)).to.include('unknown');
      const next = await timed(() => post(proxy, { topic: 'orders', payload: 'never' }));
      expectUnavailable(next);
      expect(next.body.outcome).to.equal('not_stored');
      expect(await status('/ready')).to.equal(503);
      expect(await status('/health')).to.equal(200);

      server.thaw();
      await isReady(proxy);
      await eventually(() => publish(proxy, 'orders', 'afterwards'));
      await eventually(() => expect(payloads(client.messages)).to.include('afterwards'), 10_000);
      const came = payloads(client.messages);
      expect(came).not.to.include('never');
      expect(new Set(idsOf(client.messages)).size).to.equal(came.length);
      // What was unknown came once or not at all.
      for (let i = 1; i < 5; i++) expect(came.filter((payload) => payload === i).length).to.be.at.most(1);
    });
  });

  describe('cuts off pub/sub only', () => {
    it('whoever subscribes or polls just then gets what is published afterwards', async () => {
      const admin = connectAsAdmin({ host: server.host, port: server.port });
      for (let round = 0; round < 5; round++) {
        const topic = `orders.${round}`;
        const client = await WsClient.connect(proxy, { token });
        await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await client.subscribe([topic], { client_id: `phone-${round}` });
        // A poll may be told to try again in a moment. A socket is not told, because it need not do anything.
        const polled = () => poll(proxy, token, { topics: topic, client_id: `poller-${round}` });
        await eventually(async () => expect((await polled()).status).to.equal(200));
        await publish(proxy, topic, round);
        await eventually(() => expect(payloads(client.messages)).to.deep.equal([round]));
        await eventually(async () => expect(payloads((await polled()).body.messages)).to.deep.equal([round]));
        await client.close();
      }
      admin.disconnect();
    });
  });

  describe('was never there', () => {
    it('the proxy starts, says that it is not ready, and serves as soon as Valkey is there', async () => {
      await server.kill();
      const early = await startProxy({ driver: 'valkey', valkey: { port: server.port } });
      expect((await request(early, 'GET', '/health')).status).to.equal(200);
      const { status: code, text } = await request(early, 'GET', '/ready');
      expect(code).to.equal(503);
      expect(text).to.include('valkey');
      expectUnavailable(await timed(() => post(early, { topic: 'orders', payload: 1 })));
      await server.restart();
      await isReady(early);
      await publish(early, 'orders', 1);
      await early.stop();
    });
  });
});

const byOffset = (a: string, b: string): number => offsetOf(a) - offsetOf(b);

const offsetOf = (id: string): number => {
  const [ms, sequence] = id.slice(id.indexOf(':') + 1).split('-');
  return Number(ms) * 1024 + Number(sequence);
};
