/** Two proxies on one Valkey are one service: it does not matter which of them a client or a backend talks to. */
import { expect } from 'chai';
import { ack, payloads, poll, publish, WsClient, type DeliveredMessage } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import type { Proxy } from '../support/proxy.js';
import { sharedValkey } from '../support/shared-valkey.js';
import { ackAll, idsOf, pollUntil, startFleet } from './fleet.js';

describe('two proxies on one Valkey', () => {
  let here: Proxy;
  let there: Proxy;
  let token: string;

  beforeEach(async () => {
    [here, there] = (await startFleet(2, (await sharedValkey()).port)) as [Proxy, Proxy];
    token = await here.token();
  });
  afterEach(() => Promise.all([here.stop(), there.stop()]));

  const connect = (to: Proxy): Promise<WsClient> => WsClient.connect(to, { token });

  it('a message published on one is received on the other over WebSocket', async () => {
    const client = await connect(there);
    await client.subscribe(['orders']);
    const id = await publish(here, 'orders', { order: 1 });
    const message = await client.next('message');
    expect(message).to.include({ message_id: id, topic: 'orders' });
    expect(message.payload).to.deep.equal({ order: 1 });
  });

  it('a message published on one answers a poll that waits on the other', async () => {
    await poll(there, token, { topics: 'orders' });
    const waiting = poll(there, token, { topics: 'orders', timeout: 10 });
    const id = await publish(here, 'orders', { order: 1 });
    expect(idsOf((await waiting).body.messages)).to.deep.equal([id]);
  });

  it('everybody sees the same order, whoever publishes where and whoever listens how', async () => {
    const COUNT = 200;
    const clients = await Promise.all([connect(here), connect(here), connect(there), connect(there)]);
    await Promise.all(clients.map((client, i) => client.subscribe(['orders'], { client_id: `ws-${i}` })));
    await poll(there, token, { topics: 'orders', client_id: 'poller' });
    const polled = pollUntil([here, there], token, { topics: 'orders', client_id: 'poller' }, COUNT * 2);
    const publishing = [here, there].map(async (proxy, who) => {
      for (let i = 0; i < COUNT; i += 20) {
        // Several at once, on both proxies at the same time.
        await Promise.all(Array.from({ length: 20 }, (_, k) => publish(proxy, 'orders', { who, i: i + k })));
      }
    });
    await Promise.all(publishing);
    await eventually(() => {
      for (const client of clients) expect(client.messages).to.have.length(COUNT * 2);
    });
    const first = idsOf(clients[0].messages);
    expect(new Set(first).size).to.equal(COUNT * 2);
    for (const client of clients) expect(idsOf(client.messages)).to.deep.equal(first);
    expect(idsOf(await polled)).to.deep.equal(first);
  });

  describe('a client that moves from one to the other', () => {
    it('goes on where it was: what it had not acknowledged comes again, the rest never', async () => {
      const before = await connect(here);
      await before.subscribe(['orders'], { client_id: 'phone' });
      for (let i = 1; i <= 5; i++) await publish(here, 'orders', i);
      const received = await before.nextMessages(5);
      await before.ack(...idsOf(received.slice(0, 3)));
      // An ack over HTTP is answered once it is recorded, and with it all that were given before.
      await ackAll(here, token, received.slice(0, 1), 'phone');
      await before.close();
      await publish(here, 'orders', 6);

      const after = await connect(there);
      const subscribed = await after.subscribe(['orders'], { client_id: 'phone' });
      expect(subscribed.topics).to.deep.equal([{ topic: 'orders', recovered: true }]);
      const again = await after.nextMessages(3);
      expect(payloads(again)).to.deep.equal([4, 5, 6]);
      expect(again.map(({ attempt }) => attempt)).to.deep.equal([2, 2, undefined]);
      await publish(there, 'orders', 7);
      expect((await after.next('message')).payload).to.equal(7);
    });

    it('loses nothing and gets nothing again that it has acknowledged, however often it moves', async () => {
      const COUNT = 300;
      const seen = new Set<string>();
      const acknowledged = new Set<string>();
      const repeated: string[] = [];
      const receive = (client: WsClient): void => {
        for (const { message_id } of client.messages) {
          seen.add(message_id);
          if (acknowledged.has(message_id)) repeated.push(message_id);
        }
      };
      const subscribed = async (to: Proxy): Promise<WsClient> => {
        const client = await connect(to);
        await client.subscribe(['orders'], { client_id: 'phone' });
        return client;
      };
      let [at, other] = [here, there];
      let client = await subscribed(at);
      const publication = { isOver: false };
      const publishing = (async () => {
        for (let i = 0; i < COUNT; i++) await publish(i % 2 === 0 ? here : there, 'orders', i);
        publication.isOver = true;
      })();
      for (let moves = 0; !publication.isOver || moves < 10; moves++) {
        await eventually(() => expect(client.messages).not.to.be.empty);
        const taken = client.messages.slice(0, Math.ceil(client.messages.length / 2));
        receive(client);
        await ackAll(at, token, taken, 'phone');
        for (const id of idsOf(taken)) acknowledged.add(id);
        await (moves % 3 === 0 ? client.terminate() : client.close());
        [at, other] = [other, at];
        client = await subscribed(at);
        if (publication.isOver) await publish(here, 'orders', 'so that there is something to wait for');
      }
      await publishing;
      await eventually(() => {
        receive(client);
        expect(seen.size).to.be.at.least(COUNT);
      });
      expect(repeated).to.deep.equal([]);
    });

    it('takes its subscription with it while the old connection is open, and that one is closed', async () => {
      const old = await connect(here);
      await old.subscribe(['orders'], { client_id: 'phone' });
      await publish(here, 'orders', 1);
      await old.next('message');

      const client = await connect(there);
      await client.subscribe(['orders'], { client_id: 'phone' });
      // The old one learns of it when it has something to record.
      old.send({ type: 'ack', message_ids: idsOf(old.messages) });
      expect((await old.closed).code).to.equal(4509);
      await publish(here, 'orders', 2);
      await eventually(() => expect(payloads(client.messages)).to.include(2));
    });

    it('may leave a WebSocket on one for polls on the other', async () => {
      const client = await connect(here);
      await client.subscribe(['orders'], { client_id: 'phone' });
      await publish(here, 'orders', 1);
      await publish(here, 'orders', 2);
      const [one] = await client.nextMessages(2);
      await client.ack(one!.message_id);
      await client.close();
      const [two] = await pollUntil([there], token, { topics: 'orders', client_id: 'phone' }, 1);
      expect(two).to.include({ payload: 2, attempt: 2 });
    });
  });

  describe('polls of one client at both in turn', () => {
    const parameters = { topics: 'orders', client_id: 'phone', max: 7, ack_timeout: 60 };

    it('never get a message twice before its deadline, and miss none', async () => {
      const COUNT = 200;
      await poll(here, token, { ...parameters, timeout: 0 });
      const publishing = (async () => {
        for (let i = 0; i < COUNT; i++) await publish(i % 2 === 0 ? here : there, 'orders', i);
      })();
      const came = await pollUntil([here, there], token, parameters, COUNT);
      await publishing;
      expect(idsOf(came)).to.have.length(COUNT);
      expect(payloads(came)).to.have.members(Array.from({ length: COUNT }, (_, i) => i));
      expect(came.map(({ attempt }) => attempt ?? 1)).not.to.include(2);
    });

    it('not even when they are under way at the same time', async () => {
      const COUNT = 120;
      await poll(here, token, { ...parameters, timeout: 0 });
      for (let i = 0; i < COUNT; i++) await publish(here, 'orders', i);
      const came: DeliveredMessage[] = [];
      const worker = async (proxy: Proxy): Promise<void> => {
        for (;;) {
          const { status, body } = await poll(proxy, token, { ...parameters, timeout: 0 });
          // Under this much contention a poll may be told to try again.
          if (status === 409) continue;
          expect(status).to.equal(200);
          if (body.messages.length === 0) return;
          came.push(...body.messages);
        }
      };
      await Promise.all([here, there, here, there].map(worker));
      expect(new Set(idsOf(came)).size).to.equal(COUNT);
      expect(came).to.have.length(COUNT);
    });

    it('may be acknowledged at the other one', async () => {
      await poll(here, token, { ...parameters, timeout: 0 });
      for (let i = 1; i <= 3; i++) await publish(here, 'orders', i);
      const came = await pollUntil([here], token, { ...parameters, ack_timeout: 1 }, 3);
      await ackAll(there, token, came.slice(0, 2), 'phone');
      const [again] = await pollUntil([there], token, { ...parameters, ack_timeout: 1 }, 1);
      expect(again).to.include({ message_id: came[2]!.message_id, attempt: 2 });
      const repeated = await ack(here, token, idsOf(came.slice(0, 2)), 'phone');
      expect(repeated.body).to.deep.equal({
        acknowledged: 2,
        already_acknowledged: idsOf(came.slice(0, 2)),
        trimmed: [],
        unknown: [],
      });
    });
  });

  it('an HTTP ack on one counts for a WebSocket on the other', async () => {
    const client = await connect(there);
    await client.subscribe(['orders'], { client_id: 'phone' });
    await publish(here, 'orders', 1);
    await publish(here, 'orders', 2);
    const [one, two] = await client.nextMessages(2);
    await client.ack(one!.message_id);
    // The commit of the session comes first: only what the journal knows can be acknowledged elsewhere.
    await eventually(async () => {
      expect((await ack(here, token, [two!.message_id], 'phone')).body).to.have.property('acknowledged', 1);
    });
    await client.close();
    const polled = await poll(there, token, { topics: 'orders', client_id: 'phone', timeout: 0 });
    expect(polled.body.messages).to.deep.equal([]);
  });

  describe('a topic that is created on one', () => {
    it('reaches whoever subscribes to a pattern on the other, from its first message on', async () => {
      const client = await connect(there);
      await client.subscribe(['orders.*']);
      const ids = [await publish(here, 'orders.eu', 1), await publish(here, 'orders.eu', 2)];
      await publish(here, 'invoices.eu', 3);
      ids.push(await publish(here, 'orders.us', 4));
      await eventually(() => expect(client.messages).to.have.length(3));
      expect(idsOf(client.messages)).to.have.members(ids);
      expect(payloads(client.messages.filter(({ topic }) => topic === 'orders.eu'))).to.deep.equal([1, 2]);
    });

    it('answers a poll for a pattern that waits on the other', async () => {
      await poll(there, token, { topics: 'orders.>' });
      const waiting = poll(there, token, { topics: 'orders.>', timeout: 10 });
      const id = await publish(here, 'orders.eu.created', 1);
      expect(idsOf((await waiting).body.messages)).to.deep.equal([id]);
    });
  });

  it('two installations with other prefixes on the same Valkey hear nothing of each other', async () => {
    const [elsewhere] = await startFleet(1, (await sharedValkey()).port);
    const [client, foreign] = await Promise.all([connect(here), connect(elsewhere!)]);
    await Promise.all([client.subscribe(['orders']), foreign.subscribe(['>'])]);
    await publish(there, 'orders', 1);
    expect((await client.next('message')).payload).to.equal(1);
    await publish(elsewhere!, 'orders', 2);
    expect((await foreign.next('message')).payload).to.equal(2);
    expect(payloads(client.messages)).to.deep.equal([1]);
    expect(payloads(foreign.messages)).to.deep.equal([2]);
    await elsewhere!.stop();
  });
});
