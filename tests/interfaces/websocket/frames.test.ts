import { expect } from 'chai';
import { freshTopic, payloadTexts, poll, post, publish, WsClient, type Frame } from '../../support/client.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

describe('WebSocket frames', () => {
  let proxy: Proxy;
  let client: WsClient;

  before(async () => {
    proxy = await startProxy({
      config: { limits: { max_message_size: 1000, max_topics_per_subscription: 5 } },
    });
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    const token = await proxy.token('alice', { topics: { subscribe: ['>'], publish: ['open.>'] } });
    client = await WsClient.connect(proxy, { token });
  });
  // Whatever a test has sent: the connection lives on.
  afterEach(async () => {
    await client.sync();
    await client.close();
  });

  describe('what they are answered with', () => {
    it('answers with the id that the client gave, a text or a number', async () => {
      for (const id of ['a', '', 0, 17, -1.5]) {
        client.send({ type: 'ping', id });
        expect(await client.next('pong')).to.deep.include({ type: 'pong', id });
      }
    });

    it('answers without an id where the client gave none', async () => {
      client.send({ type: 'ping' });
      expect((await client.next('pong')).raw).to.equal('{"type":"pong"}');
    });

    it('refuses an id that it could not give back', async () => {
      for (const id of [null, {}, [], true, 'x'.repeat(129)]) {
        client.send({ type: 'ping', id });
        expect(await client.next('error')).to.include({ code: 'invalid_request', field: 'id' });
      }
    });

    it('answers subscribe with subscribed, the client_id and each topic', async () => {
      const [a, b] = [freshTopic(), freshTopic()];
      const answer = await client.request({ type: 'subscribe', topics: [a, `${b}.*`], client_id: 'phone' });
      expect(JSON.parse(answer.raw)).to.deep.equal({
        type: 'subscribed',
        id: answer.id,
        client_id: 'phone',
        topics: [
          { topic: a, recovered: false },
          { topic: `${b}.*`, recovered: false },
        ],
      });
    });

    it('makes up a client_id where the client has none', async () => {
      const other = await WsClient.connect(proxy, { token: await proxy.token('alice') });
      const [one, two] = [await client.subscribe(['t']), await other.subscribe(['t'])];
      expect(one.client_id).to.match(/^[\w-]{16,}$/);
      expect(two.client_id).not.to.equal(one.client_id);
      await other.close();
    });

    it('answers unsubscribe with unsubscribed', async () => {
      await client.subscribe(['a', 'b.*']);
      const answer = await client.request({ type: 'unsubscribe', topics: ['b.*'] });
      expect(answer).to.deep.include({ type: 'unsubscribed', topics: ['b.*'] });
    });

    it('answers ack with acked where it has an id, and with nothing where it has none', async () => {
      const topic = freshTopic();
      await client.subscribe([topic]);
      const ids = [await publish(proxy, topic, 1), await publish(proxy, topic, 2)];
      await client.nextMessages(2);
      client.send({ type: 'ack', message_id: ids[0] });
      const answer = await client.request({ type: 'ack', message_ids: ids });
      expect(JSON.parse(answer.raw)).to.deep.equal({
        type: 'acked',
        id: answer.id,
        acknowledged: 2,
        already_acknowledged: [ids[0]],
        trimmed: [],
        unknown: [],
      });
      expect(client.frames.filter(({ type }) => type === 'acked')).to.have.length(1);
    });

    it('answers nack, extend and terminate with nacked, extended and terminated', async () => {
      const topic = freshTopic();
      await client.subscribe([topic]);
      const id = await publish(proxy, topic, 1);
      await client.next('message');
      const lists = { already_acknowledged: [], trimmed: [], unknown: [] };
      const answered = async (frame: Readonly<Record<string, unknown>>): Promise<unknown> => {
        const { id: of, raw } = await client.request(frame);
        expect(JSON.parse(raw)).to.include({ id: of });
        return { ...(JSON.parse(raw) as object), id: undefined };
      };
      expect(await answered({ type: 'extend', message_id: id })).to.deep.equal({
        type: 'extended',
        id: undefined,
        extended: 1,
        ...lists,
      });
      expect(await answered({ type: 'nack', message_id: id, delay: 0 })).to.deep.equal({
        type: 'nacked',
        id: undefined,
        nacked: 1,
        ...lists,
      });
      expect((await client.next('message')).attempt).to.equal(2);
      expect(await answered({ type: 'terminate', message_id: id })).to.deep.equal({
        type: 'terminated',
        id: undefined,
        terminated: 1,
        ...lists,
      });
    });

    it('answers publish with published, and stores the payload byte for byte', async () => {
      const topic = freshTopic('open.t');
      const literal = String.raw`{ "n":12345678901234567890, "a":1,"a":2, "e":"😀\u00e9" }`;
      client.sendText(`{"type":"publish","id":1,"topic":"${topic}","payload":${literal},"key":"k","ttl":60}`);
      const answer = await client.next('published');
      expect(answer).to.include({ id: 1, topic });
      expect(answer.message_id).to.match(new RegExp(`^${topic}:\\d{13}-\\d{1,4}$`));
      expect(answer.timestamp).to.equal(new Date(answer.timestamp).toISOString());
      const polled = await poll(proxy, await proxy.token(), { topics: topic, from: 'earliest' });
      expect(payloadTexts(polled.text)).to.deep.equal([literal]);
      expect(polled.body.messages[0]).to.include({ message_id: answer.message_id, key: 'k' });
    });
  });

  describe('a publish with an idempotency_key', () => {
    it('is stored once: the second answer is the first, with duplicate', async () => {
      const topic = freshTopic('open.t');
      const frame = { type: 'publish', topic, payload: { a: 1 }, idempotency_key: topic };
      const [first, second] = [await client.request(frame), await client.request(frame)];
      expect(JSON.parse(second.raw)).to.deep.equal({
        ...(JSON.parse(first.raw) as object),
        id: second.id,
        duplicate: true,
      });
      expect(first).not.to.have.property('duplicate');
      const polled = await poll(proxy, await proxy.token(), {
        topics: topic,
        from: 'earliest',
        client_id: topic,
      });
      expect(polled.body.messages).to.have.length(1);
    });

    it('is the same message over HTTP, for the same principal', async () => {
      const topic = freshTopic('open.t');
      const message = { topic, payload: 1, idempotency_key: topic };
      const token = await proxy.token('alice', { topics: { publish: ['open.>'] } });
      const answer = await post(proxy, message, { token });
      const published = await client.request({ type: 'publish', ...message });
      expect(published).to.include({ duplicate: true, message_id: answer.body.message_id });
    });

    it('is refused where the key belongs to another message', async () => {
      const topic = freshTopic('open.t');
      const frame = { type: 'publish', topic, idempotency_key: topic };
      await client.request({ ...frame, payload: 1 });
      const answer = await client.request({ ...frame, payload: 2 });
      expect(answer).to.include({ type: 'error', code: 'idempotency_key_reused', temporary: false });
    });
  });

  it('a publish that is to be synced is refused where the storage keeps nothing on disk', async () => {
    const answer = await client.request({
      type: 'publish',
      topic: 'open.t',
      payload: 1,
      durability: 'fsync',
    });
    expect(answer).to.include({
      type: 'error',
      code: 'durability_unavailable',
      temporary: false,
      outcome: 'not_stored',
    });
  });

  describe('a message', () => {
    it('is one frame with message_id, topic, payload and timestamp, and no attempt the first time', async () => {
      const topic = freshTopic();
      await client.subscribe([topic]);
      const literal = String.raw`{"b" : 1.0,"a":"\/ 漢字"}`;
      const body = `{"topic":"${topic}","payload":${literal}}`;
      const answer = await fetch(`${proxy.url}/api/v1/messages`, {
        method: 'POST',
        headers: { authorization: `Bearer ${proxy.publishKey}`, 'content-type': 'application/json' },
        body,
      });
      const receipt = (await answer.json()) as { readonly message_id: string; readonly timestamp: string };
      expect((await client.next('message')).raw).to.equal(
        `{"type":"message","message_id":"${receipt.message_id}","topic":"${topic}","payload":${literal},"timestamp":"${receipt.timestamp}"}`,
      );
    });

    it('carries key, priority and headers where it has them', async () => {
      const topic = freshTopic();
      await client.subscribe([topic]);
      const extras = { key: 'k"\\', priority: 0, headers: { traceparent: '00-1-2-01' } };
      await publish(proxy, topic, null, extras);
      expect(await client.next('message')).to.deep.include({ payload: null, ...extras });
    });

    it('is the same bytes for every subscriber', async () => {
      const topic = freshTopic();
      const others = await Promise.all(
        [1, 2, 3].map(async () => WsClient.connect(proxy, { token: await proxy.token() })),
      );
      const all = [client, ...others];
      for (const each of all) await each.subscribe([topic]);
      for (let i = 0; i < 5; i++) await publish(proxy, topic, { i });
      const texts = await Promise.all(
        all.map(async (each) => (await each.nextMessages(5)).map(({ raw }) => raw)),
      );
      for (const text of texts) expect(text).to.deep.equal(texts[0]);
      await Promise.all(others.map((each) => each.close()));
    });
  });

  describe('what is wrong with them', () => {
    const refused = async (frame: unknown, code: string, field?: string): Promise<Frame> => {
      if (typeof frame === 'string') client.sendText(frame);
      else client.send(frame);
      const answer = await client.next('error');
      expect([answer.code, answer.field], answer.raw).to.deep.equal([code, field]);
      expect(answer.temporary).to.equal(false);
      expect(answer.message).to.be.a('string').that.is.not.empty;
      return answer;
    };

    it('says that text is not JSON', async () => {
      for (const text of ['', '{', 'hello', '{"type":"ping",}', "{'type':'ping'}", '{"type":"ping"}{}']) {
        await refused(text, 'invalid_json');
      }
    });

    it('says that a frame must be an object', async () => {
      for (const text of ['[]', '"ping"', '7', 'null', 'true', '[{"type":"ping"}]']) {
        await refused(text, 'invalid_request', 'frame');
      }
    });

    it('says that a frame is nested too deep', async () => {
      await refused(`{"type":"ping","x":${'['.repeat(64)}${']'.repeat(64)}}`, 'invalid_json');
      await refused(`{"type":${'['.repeat(60_000)}`, 'invalid_json');
    });

    it('names a type that is missing or unknown, and says which there are', async () => {
      await refused({}, 'invalid_request', 'type');
      await refused({ typ: 'ping' }, 'invalid_request', 'type');
      for (const type of ['', 'PING', 'message', 'constructor', '__proto__', 7, null, ['ping'], {}]) {
        const { message } = await refused({ type }, 'invalid_request', 'type');
        expect(message).to.include('subscribe');
      }
    });

    it('answers with the id of the frame that is wrong', async () => {
      expect((await refused({ type: 'nonsense', id: 7 }, 'invalid_request', 'type')).id).to.equal(7);
      expect((await refused({ type: 'subscribe', id: 'x' }, 'invalid_request', 'topics')).id).to.equal('x');
    });

    it('names topics that are missing or wrong', async () => {
      for (const type of ['subscribe', 'unsubscribe']) {
        await refused({ type }, 'invalid_request', 'topics');
        for (const topics of [null, 'a', {}, 7, [], Array(1001).fill('a')]) {
          await refused({ type, topics }, 'invalid_request', 'topics');
        }
        for (const topic of ['', 'a b', 'a.>.b', '$sys', 7, null, ['a']]) {
          await refused({ type, topics: ['fine', topic] }, 'invalid_request', 'topics[1]');
        }
      }
    });

    it('names every other field of subscribe', async () => {
      const wrong = {
        client_id: ['', 'a b', 7, null, 'x'.repeat(129)],
        delivery: ['exactly_once', 7, null, 'constructor', '__proto__'],
        from: ['now', 7, null, '2025-01-01'],
        max_in_flight: [0, -1, 1.5, '10', null, 100_001],
        ack_timeout: [0, -1, '30', null, 86_401],
      };
      for (const [field, values] of Object.entries(wrong)) {
        for (const value of values) {
          await refused({ type: 'subscribe', topics: ['t'], [field]: value }, 'invalid_request', field);
        }
      }
    });

    it('names more topics than a subscription may have, also where they come one by one', async () => {
      await refused(
        { type: 'subscribe', topics: ['a', 'b', 'c', 'd', 'e', 'f'] },
        'invalid_request',
        'topics',
      );
      await client.subscribe(['a', 'b', 'c', 'd', 'e']);
      await refused({ type: 'subscribe', topics: ['f'] }, 'invalid_request', 'topics');
      await client.subscribe(['a']);
    });

    it('names what is wrong with an ack', async () => {
      await client.subscribe(['t']);
      await refused({ type: 'ack' }, 'invalid_request', 'message_id');
      for (const message_id of ['', 'x', 't:1', 7, null])
        await refused({ type: 'ack', message_id }, 'invalid_request', 'message_id');
      await refused({ type: 'ack', message_ids: 't:1-0' }, 'invalid_request', 'message_ids');
      await refused({ type: 'ack', message_ids: [] }, 'invalid_request', 'message_ids');
      await refused({ type: 'ack', message_ids: ['t:1-0', 'x'] }, 'invalid_request', 'message_ids[1]');
      await refused(
        { type: 'ack', message_id: 't:1-0', message_ids: ['t:1-0'] },
        'invalid_request',
        'message_ids',
      );
    });

    it('answers an ack of what was never delivered with an error, or names the ids where it has an id', async () => {
      const topic = freshTopic();
      await refused({ type: 'ack', message_id: `${topic}:1-0` }, 'not_subscribed');
      await client.subscribe([topic]);
      await refused(
        { type: 'ack', message_id: `${topic}:8000000000000-0` },
        'unknown_messages',
        'message_id',
      );
      await refused({ type: 'ack', message_id: 'other:1-0' }, 'unknown_messages', 'message_id');
      const { acknowledged, unknown } = await client.ack('other:1-0');
      expect([acknowledged, unknown]).to.deep.equal([0, ['other:1-0']]);
    });

    it('names what is wrong with the other frames that settle messages', async () => {
      for (const type of ['nack', 'extend', 'terminate']) {
        await refused({ type, message_id: 't:1-0' }, 'not_subscribed');
        await refused({ type }, 'invalid_request', 'message_id');
        await refused({ type, message_ids: ['t:1-0', 'x'] }, 'invalid_request', 'message_ids[1]');
      }
      await refused({ type: 'nack', message_id: 't:1-0', delay: -1 }, 'invalid_request', 'delay');
      await refused({ type: 'ack', up_to: 't:1-0', message_id: 't:1-0' }, 'invalid_request', 'up_to');
    });

    it('answers what names a message that was never delivered with an error, whatever it says of it', async () => {
      await client.subscribe(['t']);
      for (const type of ['ack', 'nack', 'extend', 'terminate'])
        await refused({ type, message_ids: ['other:1-0'] }, 'unknown_messages', 'message_id');
      await refused({ type: 'ack', up_to: 'other:1-0' }, 'unknown_messages', 'up_to');
    });

    it('answers unsubscribe without a subscription with an error', async () => {
      await refused({ type: 'unsubscribe', topics: ['t'] }, 'not_subscribed');
    });

    it('names what is wrong with a publish', async () => {
      await refused({ type: 'publish', payload: 1 }, 'invalid_request', 'topic');
      await refused({ type: 'publish', topic: 'open.*', payload: 1 }, 'invalid_request', 'topic');
      await refused({ type: 'publish', topic: 'open.t' }, 'invalid_request', 'payload');
      await refused({ type: 'publish', topic: 'open.t', payload: 1, ttl: 0 }, 'invalid_request', 'ttl');
      await refused(
        { type: 'publish', topic: 'open.t', payload: 1, priority: 10 },
        'invalid_request',
        'priority',
      );
      await refused(
        { type: 'publish', topic: 'open.t', payload: 'x'.repeat(1000) },
        'payload_too_large',
        'payload',
      );
      await refused({ type: 'publish', topic: 'closed.t', payload: 1 }, 'forbidden');
      for (const idempotency_key of ['', 'a b', 'k'.repeat(256), 7, null]) {
        await refused(
          { type: 'publish', topic: 'open.t', payload: 1, idempotency_key },
          'invalid_request',
          'idempotency_key',
        );
      }
      await refused(
        { type: 'publish', topic: 'open.t', payload: 1, durability: 'none' },
        'invalid_request',
        'durability',
      );
    });

    it('names a token that is missing', async () => {
      await refused({ type: 'auth' }, 'invalid_request', 'token');
      await refused({ type: 'auth', token: 7 }, 'invalid_request', 'token');
    });

    it('answers a topic that is not granted with an error, and subscribes to none of the others', async () => {
      const narrow = await WsClient.connect(proxy, {
        token: await proxy.token('bob', { topics: { subscribe: ['mine.*'] } }),
      });
      const answer = await narrow.request({ type: 'subscribe', topics: ['mine.a', 'yours.a'] });
      expect(answer).to.include({ type: 'error', code: 'forbidden', temporary: false });
      await publish(proxy, 'mine.a', 1);
      await narrow.sync();
      expect(narrow.messages).to.deep.equal([]);
      await narrow.close();
    });

    it('is not changed by __proto__', async () => {
      client.sendText('{"type":"ping","__proto__":{"polluted":1}}');
      await client.next('pong');
      client.sendText('{"__proto__":{"type":"ping"}}');
      await client.next('error');
      expect(({} as { readonly polluted?: number }).polluted).to.equal(undefined);
    });
  });
});
