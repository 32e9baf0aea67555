import { expect } from 'chai';
import { ack, bulk, freshTopic, metric, payloads, poll, publish, WsClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

const ACK_TIMEOUT_MS = 10_000;
/** How late a redelivery may be, and how long acknowledgements wait for others to be recorded with. */
const TICK_MS = 250;

describe('delivery by WebSocket', () => {
  let clock: ManualClock;
  let proxy: Proxy;
  let token: string;
  let topic: string;
  let clients: WsClient[];

  before(async () => {
    clock = new ManualClock();
    proxy = await startProxy({ clock, config: { delivery: { ack_timeout: '10s' } } });
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    topic = freshTopic();
    token = await proxy.token(topic);
    clients = [];
  });
  afterEach(() => disconnect());

  const connect = async (withToken = token): Promise<WsClient> => {
    const client = await WsClient.connect(proxy, { token: withToken });
    clients.push(client);
    return client;
  };

  /** Cuts every connection off, and waits until the proxy knows it. */
  const disconnect = async (): Promise<void> => {
    await Promise.all(clients.map((client) => client.terminate()));
    await eventually(async () =>
      expect(await metric(proxy, 'proxy_connections_total{type="websocket"}')).to.equal(0),
    );
  };

  /** What a client has got of messages once everything that was under way has arrived. */
  const settledPayloads = async (client: WsClient): Promise<readonly unknown[]> => {
    await client.sync();
    return payloads(client.messages);
  };

  const numbers = (count: number, from = 0): readonly number[] =>
    Array.from({ length: count }, (_, i) => from + i);

  const publishAll = (items: readonly unknown[], name = topic): Promise<unknown> =>
    bulk(
      proxy,
      items.map((payload) => ({ topic: name, payload })),
    );

  describe('topics', () => {
    it('gives what is published after the subscription, in order', async () => {
      await publish(proxy, topic, 'before');
      const client = await connect();
      await client.subscribe([topic]);
      await publishAll(numbers(100));
      for (const i of numbers(20, 100)) await publish(proxy, topic, i);
      expect(payloads(await client.nextMessages(120))).to.deep.equal(numbers(120));
    });

    it('gives what is there already where it is asked to', async () => {
      await publishAll(numbers(250));
      const client = await connect();
      await client.subscribe([topic], { from: 'earliest' });
      expect(payloads(await client.nextMessages(250))).to.deep.equal(numbers(250));
      await publish(proxy, topic, 250);
      expect((await client.next('message')).payload).to.equal(250);
    });

    it('says that it is subscribed before it gives anything', async () => {
      await publishAll(numbers(3));
      const client = await connect();
      await client.subscribe([topic], { from: 'earliest' });
      await client.nextMessages(3);
      expect(client.frames[0]!.type).to.equal('subscribed');
    });

    it('adds the topics of a second subscribe', async () => {
      const other = freshTopic();
      const client = await connect();
      const first = await client.subscribe([topic]);
      const second = await client.subscribe([other, topic]);
      expect(second.client_id).to.equal(first.client_id);
      expect(second.topics).to.deep.equal([
        { topic: other, recovered: false },
        { topic, recovered: true },
      ]);
      await publish(proxy, topic, 'a');
      await publish(proxy, other, 'b');
      expect(payloads(await client.nextMessages(2))).to.have.members(['a', 'b']);
    });

    it('gives nothing more of a topic that is unsubscribed from', async () => {
      const other = freshTopic();
      const client = await connect();
      await client.subscribe([topic, other]);
      await client.request({ type: 'unsubscribe', topics: [topic] });
      await publish(proxy, topic, 'unwanted');
      await publish(proxy, other, 'wanted');
      await client.next('message');
      expect(await settledPayloads(client)).to.deep.equal(['wanted']);
    });

    it('takes unsubscribing from what is not subscribed to for done', async () => {
      const client = await connect();
      await client.subscribe([topic]);
      expect((await client.request({ type: 'unsubscribe', topics: ['other'] })).type).to.equal(
        'unsubscribed',
      );
      await publish(proxy, topic, 'wanted');
      expect((await client.next('message')).payload).to.equal('wanted');
    });

    it('gives a message once to a connection whose topics select it twice', async () => {
      const client = await connect();
      await client.subscribe([`${topic}.a`, `${topic}.*`, `${topic}.>`]);
      await publish(proxy, `${topic}.a`, 1);
      await publish(proxy, `${topic}.a`, 2);
      await client.nextMessages(2);
      expect(await settledPayloads(client)).to.deep.equal([1, 2]);
    });
  });

  describe('patterns', () => {
    it('gives what is in the topics that match, and in no others', async () => {
      for (const name of ['eu.created', 'eu.deleted', 'us.created'])
        await publish(proxy, `${topic}.${name}`, 'old');
      const client = await connect();
      await client.subscribe([`${topic}.*.created`]);
      for (const name of ['eu.created', 'eu.deleted', 'us.created', 'created', 'a.b.created']) {
        await publish(proxy, `${topic}.${name}`, name);
      }
      await client.nextMessages(2);
      expect(await settledPayloads(client)).to.have.members(['eu.created', 'us.created']);
    });

    it('gives topics that come into being later from their first message on', async () => {
      const client = await connect();
      await client.subscribe([`${topic}.>`]);
      for (const name of ['a', 'b.c', 'd.e.f']) await publish(proxy, `${topic}.${name}`, name);
      await publishAll(numbers(3), `${topic}.bulk`);
      expect(payloads(await client.nextMessages(6))).to.have.members(['a', 'b.c', 'd.e.f', 0, 1, 2]);
    });

    it('gives, of the topics that match, those that are granted, whenever they come into being', async () => {
      const narrow = await proxy.token(topic, { topics: { subscribe: [`${topic}.mine.*`] } });
      await publish(proxy, `${topic}.mine.old`, 0);
      await publish(proxy, `${topic}.yours.old`, 0);
      const client = await connect(narrow);
      await client.subscribe([`${topic}.>`]);
      for (const name of ['mine.old', 'yours.old', 'mine.new', 'yours.new'])
        await publish(proxy, `${topic}.${name}`, name);
      await client.nextMessages(2);
      expect(await settledPayloads(client)).to.have.members(['mine.old', 'mine.new']);
    });
  });

  describe('acknowledgements', () => {
    it('gives again, as attempt 2, what was not acknowledged in time', async () => {
      const client = await connect();
      await client.subscribe([topic]);
      await publishAll([1, 2, 3]);
      const [first, second, third] = await client.nextMessages(3);
      await client.ack(second!.message_id);
      clock.advance(ACK_TIMEOUT_MS + TICK_MS);
      const again = await client.nextMessages(2);
      expect(again.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
        [1, 2],
        [3, 2],
      ]);
      expect(again[0]!.raw).to.equal(first!.raw.replace(/\}$/, ',"attempt":2}'));
      await client.ack(first!.message_id, third!.message_id);
      clock.advance(ACK_TIMEOUT_MS + TICK_MS);
      expect(await settledPayloads(client)).to.have.length(5);
    });

    it('takes the time from the subscription, where it says one', async () => {
      const client = await connect();
      await client.subscribe([topic], { ack_timeout: 1 });
      await publish(proxy, topic, 1);
      await client.next('message');
      clock.advance(1_000 + TICK_MS);
      expect((await client.next('message')).attempt).to.equal(2);
    });

    it('does not give again what was acknowledged late, just before it was due', async () => {
      const client = await connect();
      await client.subscribe([topic]);
      const id = await publish(proxy, topic, 1);
      await client.next('message');
      clock.advance(ACK_TIMEOUT_MS - 1);
      await client.ack(id);
      clock.advance(ACK_TIMEOUT_MS);
      expect(await settledPayloads(client)).to.deep.equal([1]);
    });

    it('gives no more than max_in_flight unacknowledged messages, and goes on with each acknowledgement', async () => {
      const client = await connect();
      await client.subscribe([topic], { max_in_flight: 3 });
      await publishAll(numbers(10));
      await client.nextMessages(3);
      expect(await settledPayloads(client)).to.deep.equal([0, 1, 2]);
      await client.ack(client.messages[0]!.message_id, client.messages[1]!.message_id);
      await client.nextMessages(2);
      expect(await settledPayloads(client)).to.deep.equal([0, 1, 2, 3, 4]);
      for (let i = 2; i < 10; i++) {
        await eventually(() => expect(client.messages.length).to.be.greaterThan(i));
        client.send({ type: 'ack', message_id: client.messages[i]!.message_id });
      }
      expect(await settledPayloads(client)).to.deep.equal(numbers(10));
    });

    it('counts max_in_flight over all topics together', async () => {
      const other = freshTopic();
      const client = await connect();
      await client.subscribe([topic, other], { max_in_flight: 2 });
      for (const i of numbers(3)) {
        await publish(proxy, topic, `a${i}`);
        await publish(proxy, other, `b${i}`);
      }
      await client.nextMessages(2);
      expect(await settledPayloads(client)).to.deep.equal(['a0', 'b0']);
    });

    it('goes on after unsubscribing from a topic that had used up max_in_flight', async () => {
      const other = freshTopic();
      const client = await connect();
      await client.subscribe([topic, other], { max_in_flight: 1 });
      await publish(proxy, topic, 'a');
      await publish(proxy, other, 'b');
      await client.next('message');
      await client.request({ type: 'unsubscribe', topics: [topic] });
      expect((await client.next('message')).payload).to.equal('b');
    });

    it('takes acknowledgements over HTTP too', async () => {
      const client = await connect();
      await client.subscribe([topic], { client_id: 'phone' });
      const id = await publish(proxy, topic, 1);
      await client.next('message');
      expect((await ack(proxy, token, [id], 'phone')).body).to.deep.equal({
        acknowledged: 1,
        already_acknowledged: [],
        trimmed: [],
        unknown: [],
      });
      clock.advance(ACK_TIMEOUT_MS + TICK_MS);
      expect(await settledPayloads(client)).to.deep.equal([1]);
    });
  });

  describe('at most once', () => {
    it('needs no acknowledgement and gives nothing again', async () => {
      for (const client_id of ['phone', undefined]) {
        const client = await connect();
        await client.subscribe([topic], { client_id, delivery: 'at_most_once', max_in_flight: 1 });
        await publishAll(numbers(5));
        await client.nextMessages(5);
        clock.advance(ACK_TIMEOUT_MS + TICK_MS);
        expect(await settledPayloads(client)).to.deep.equal(numbers(5));
        await disconnect();
      }
    });

    it('gives what was missed, and nothing again, after a reconnect', async () => {
      const options = { client_id: 'phone', delivery: 'at_most_once' };
      const first = await connect();
      await first.subscribe([topic], options);
      await publish(proxy, topic, 1);
      await first.next('message');
      await disconnect();
      await publish(proxy, topic, 2);
      const second = await connect();
      await second.subscribe([topic], options);
      await second.next('message');
      expect(await settledPayloads(second)).to.deep.equal([2]);
    });
  });

  describe('a subscription with a client_id', () => {
    it('goes on after a reconnect with what was missed, and without what was acknowledged', async () => {
      const first = await connect();
      await first.subscribe([topic], { client_id: 'phone' });
      await publishAll(['acknowledged', 'not acknowledged']);
      const [message] = await first.nextMessages(2);
      await first.ack(message!.message_id);
      await disconnect();
      await publish(proxy, topic, 'missed');
      const second = await connect();
      const { topics } = await second.subscribe([topic], { client_id: 'phone' });
      expect(topics).to.deep.equal([{ topic, recovered: true }]);
      const messages = await second.nextMessages(2);
      expect(messages.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
        ['not acknowledged', 2],
        ['missed', undefined],
      ]);
      expect(await settledPayloads(second)).to.have.length(2);
    });

    it('goes on in topics that have come into being meanwhile', async () => {
      const first = await connect();
      await first.subscribe([`${topic}.*`], { client_id: 'phone' });
      await disconnect();
      await publish(proxy, `${topic}.new`, 'missed');
      const second = await connect();
      await second.subscribe([`${topic}.*`], { client_id: 'phone' });
      expect((await second.next('message')).payload).to.equal('missed');
    });

    it('goes on with the topics of before, also where the reconnect names only some', async () => {
      const other = freshTopic();
      const first = await connect();
      await first.subscribe([topic, other], { client_id: 'phone' });
      await disconnect();
      const second = await connect();
      await second.subscribe([topic], { client_id: 'phone' });
      await publish(proxy, other, 'still wanted');
      expect((await second.next('message')).payload).to.equal('still wanted');
    });

    it('moves to a poll and back', async () => {
      const client = await connect();
      await client.subscribe([topic], { client_id: 'phone' });
      await publishAll([1, 2]);
      const [first] = await client.nextMessages(2);
      await client.ack(first!.message_id);
      const polled = await poll(proxy, token, { topics: topic, client_id: 'phone' });
      expect((await client.closed).code).to.equal(4509);
      expect(polled.body.messages.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([[2, 2]]);
      await ack(proxy, token, [polled.body.messages[0]!.message_id], 'phone');
      const back = await connect();
      await back.subscribe([topic], { client_id: 'phone' });
      await publish(proxy, topic, 3);
      await back.next('message');
      expect(await settledPayloads(back)).to.deep.equal([3]);
    });

    it('belongs to the newer of two connections, which gets the unacknowledged messages at once', async () => {
      const older = await connect();
      await older.subscribe([topic], { client_id: 'phone' });
      await publishAll([1, 2]);
      await older.nextMessages(2);
      const newer = await connect();
      await newer.subscribe([topic], { client_id: 'phone' });
      expect(await older.closed).to.deep.equal({ code: 4509, reason: 'superseded by another connection' });
      const messages = await newer.nextMessages(2);
      expect(messages.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
        [1, 2],
        [2, 2],
      ]);
    });

    it('belongs to one of many connections that subscribe at once', async () => {
      const many = await Promise.all(numbers(10).map(() => connect()));
      const codes: number[] = [];
      for (const client of many) void client.closed.then(({ code }) => codes.push(code));
      await Promise.all(
        many.map((client) =>
          client.request({ type: 'subscribe', topics: [topic], client_id: 'phone' }).catch(() => undefined),
        ),
      );
      await eventually(() => expect(codes).to.deep.equal(Array(9).fill(4509)));
      await publish(proxy, topic, 1);
      await eventually(() => expect(many.flatMap(({ messages }) => payloads(messages))).to.deep.equal([1]));
    });

    it('is not that of another user with the same client_id', async () => {
      const mine = await connect();
      const theirs = await connect(await proxy.token(`${topic}-other`));
      for (const client of [mine, theirs]) await client.subscribe([topic], { client_id: 'phone' });
      const id = await publish(proxy, topic, 1);
      for (const client of [mine, theirs]) await client.next('message');
      await mine.ack(id);
      clock.advance(ACK_TIMEOUT_MS + TICK_MS);
      expect((await theirs.next('message')).attempt).to.equal(2);
      expect(await settledPayloads(mine)).to.deep.equal([1]);
    });

    it('is the only one of its connection', async () => {
      const client = await connect();
      await client.subscribe([topic], { client_id: 'phone' });
      const answer = await client.request({ type: 'subscribe', topics: [topic], client_id: 'tablet' });
      expect(answer).to.include({
        type: 'error',
        code: 'client_id_mismatch',
        field: 'client_id',
        temporary: false,
      });
      await client.subscribe([topic], { client_id: 'phone' });
    });

    it('keeps its guarantee', async () => {
      const first = await connect();
      await first.subscribe([topic], { client_id: 'phone', delivery: 'at_most_once' });
      const extended = await first.request({ type: 'subscribe', topics: ['t'], delivery: 'at_least_once' });
      expect(extended).to.include({ type: 'error', code: 'guarantee_mismatch', field: 'delivery' });
      await disconnect();
      const second = await connect();
      const answer = await second.request({
        type: 'subscribe',
        topics: [topic],
        client_id: 'phone',
        delivery: 'at_least_once',
      });
      expect(answer).to.include({ type: 'error', code: 'guarantee_mismatch', field: 'delivery' });
      await second.subscribe([topic], { client_id: 'phone' });
    });
  });

  describe('a subscription without a client_id', () => {
    it('is gone with its connection', async () => {
      const first = await connect();
      const { client_id } = await first.subscribe([topic]);
      await publish(proxy, topic, 1);
      await first.next('message');
      await disconnect();
      await publish(proxy, topic, 2);
      const second = await connect();
      expect((await second.subscribe([topic])).topics).to.deep.equal([{ topic, recovered: false }]);
      const third = await connect();
      expect((await third.subscribe([topic], { client_id })).topics).to.deep.equal([
        { topic, recovered: false },
      ]);
      expect(await settledPayloads(second)).to.deep.equal([]);
      expect(await settledPayloads(third)).to.deep.equal([]);
    });
  });

  it('does not give what has expired', async () => {
    await publish(proxy, topic, 'short', { ttl: 5 });
    await publish(proxy, topic, 'long', { ttl: 100 });
    clock.advance(5_000);
    const client = await connect();
    await client.subscribe([topic], { from: 'earliest' });
    await client.next('message');
    expect(await settledPayloads(client)).to.deep.equal(['long']);
  });

  it('does not give again what has expired meanwhile', async () => {
    const client = await connect();
    await client.subscribe([topic]);
    await publish(proxy, topic, 'once', { ttl: 5 });
    await client.next('message');
    clock.advance(ACK_TIMEOUT_MS + TICK_MS);
    expect(await settledPayloads(client)).to.deep.equal(['once']);
  });
});
