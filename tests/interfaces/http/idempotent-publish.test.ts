/** Publishing once, over HTTP, with every storage that a proxy can have. */
import { expect } from 'chai';
import { isReady } from '../../integration/fleet.js';
import {
  bulk,
  freshTopic,
  metric,
  payloads,
  poll,
  post,
  type Answer,
  type HttpOptions,
} from '../../support/client.js';
import { startProxy, type Proxy, type ProxyOptions } from '../../support/proxy.js';
import { randomKeyPrefix, sharedValkey } from '../../support/shared-valkey.js';

const drivers: Readonly<Record<string, () => Promise<ProxyOptions>>> = {
  memory: () => Promise.resolve({ driver: 'memory' }),
  valkey: async () => ({
    driver: 'valkey',
    valkey: { port: (await sharedValkey()).port, keyPrefix: randomKeyPrefix() },
  }),
};

const OTHER_KEY = 'other-publish-key-0123456789';

for (const [driver, options] of Object.entries(drivers)) {
  describe(`Publishing with an idempotency key (${driver})`, () => {
    let proxy: Proxy;
    let token: string;

    before(async () => {
      proxy = await startProxy({
        ...(await options()),
        config: {
          auth: {
            api_keys: [
              { name: 'publisher', key: 'test-publish-key-0123456789' },
              { name: 'other', key: OTHER_KEY },
            ],
          },
        },
      });
      token = await proxy.token();
      await isReady(proxy);
    });
    after(() => proxy.stop());

    const stored = async (topic: string): Promise<readonly unknown[]> => {
      const { body } = await poll(proxy, token, { topics: topic, from: 'earliest', client_id: freshTopic() });
      return payloads(body.messages);
    };

    const withKey = (key: string, rest: HttpOptions = {}): HttpOptions => ({
      ...rest,
      headers: { 'idempotency-key': key },
    });

    const expectProblem = (answer: Answer, status: number, code: string): void => {
      expect(answer.status, answer.text).to.equal(status);
      expect(answer.headers.get('content-type')).to.match(/^application\/problem\+json/);
      expect(answer.body).to.include({ status, code, temporary: false });
    };

    it('answers 201 with the first answer and duplicate, and stores once', async () => {
      const topic = freshTopic();
      const message = { topic, payload: { order: 1 }, ttl: 60, headers: { a: 'x' } };
      const first = await post(proxy, message, withKey(`"${topic}"`));
      const second = await post(proxy, message, withKey(`"${topic}"`));
      expect(first.status).to.equal(201);
      expect(first.body).to.have.all.keys('message_id', 'topic', 'timestamp');
      expect(second.status).to.equal(201);
      expect(second.body).to.deep.equal({ ...first.body, duplicate: true });
      expect(await stored(topic)).to.deep.equal([{ order: 1 }]);
    });

    it('knows a key again, in quotes or bare, in the header or in the body, or in both', async () => {
      const topic = freshTopic();
      const [message, keyed] = [
        { topic, payload: 1 },
        { topic, payload: 1, idempotency_key: topic },
      ];
      const { body: first } = await post(proxy, message, withKey(topic));
      for (const again of [
        await post(proxy, message, withKey(`"${topic}"`)),
        await post(proxy, keyed),
        await post(proxy, keyed, withKey(topic)),
      ]) {
        expect(again.body).to.deep.equal({ ...first, duplicate: true });
      }
    });

    it('stores once where many requests with one key come at the same time', async () => {
      const topic = freshTopic();
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => post(proxy, { topic, payload: 1 }, withKey(topic))),
      );
      expect(answers.map(({ status }) => status)).to.deep.equal(Array(20).fill(201));
      expect(new Set(answers.map(({ body }) => body.message_id)).size).to.equal(1);
      expect(answers.filter(({ body }) => body.duplicate !== true)).to.have.length(1);
      expect(await stored(topic)).to.deep.equal([1]);
    });

    it('answers 422 where the key belongs to another message, and stores nothing', async () => {
      const topic = freshTopic();
      await post(proxy, { topic, payload: 1 }, withKey(topic));
      for (const other of [
        { topic, payload: 2 },
        { topic, payload: 1, ttl: 60 },
        { topic, payload: 1, key: 'k' },
        { topic: freshTopic(), payload: 1 },
        `{"topic":"${topic}","payload": {}}`,
      ]) {
        expectProblem(await post(proxy, other, withKey(topic)), 422, 'idempotency_key_reused');
      }
      expect(await stored(topic)).to.deep.equal([1]);
    });

    it('lets two principals use the same key for different messages', async () => {
      const topic = freshTopic();
      const mine = await post(proxy, { topic, payload: 1 }, withKey(topic));
      const theirs = await post(proxy, { topic, payload: 2 }, withKey(topic, { token: OTHER_KEY }));
      expect([mine.status, theirs.status]).to.deep.equal([201, 201]);
      expect(theirs.body).not.to.have.property('duplicate');
      expect(await stored(topic)).to.deep.equal([1, 2]);
    });

    it('stores every time without a key', async () => {
      const topic = freshTopic();
      for (let i = 0; i < 2; i++) await post(proxy, { topic, payload: 1 });
      expect(await stored(topic)).to.deep.equal([1, 1]);
    });

    it('refuses a header that is no key, or another than the body has, and names it', async () => {
      const topic = freshTopic();
      for (const key of ['', '""', '"a', 'a b', 'a,b', `"${'k'.repeat(256)}"`]) {
        const answer = await post(proxy, { topic, payload: 1 }, withKey(key));
        expectProblem(answer, 400, 'invalid_request');
        expect(answer.body.field, key).to.equal('Idempotency-Key');
      }
      const differing = await post(proxy, { topic, payload: 1, idempotency_key: 'a' }, withKey('b'));
      expectProblem(differing, 400, 'invalid_request');
      expect(differing.body.field).to.equal('Idempotency-Key');
      for (const idempotency_key of ['', 'a b', 'é', 'k'.repeat(256), 7, null, {}]) {
        const answer = await post(proxy, { topic, payload: 1, idempotency_key });
        expectProblem(answer, 400, 'invalid_request');
        expect(answer.body.field).to.equal('idempotency_key');
      }
      expect(await stored(topic)).to.deep.equal([]);
    });

    it('does not count duplicates as received', async () => {
      const topic = freshTopic();
      const received = async (): Promise<number> =>
        (await metric(proxy, 'proxy_messages_received_total')) ?? 0;
      const before = await received();
      for (let i = 0; i < 3; i++) await post(proxy, { topic, payload: 1 }, withKey(topic));
      expect(await received()).to.equal(before + 1);
    });

    describe('in a bulk', () => {
      it('answers each message for itself, and keeps the order of those that are new', async () => {
        const topic = freshTopic();
        const { body: old } = await post(proxy, { topic, payload: 'old', idempotency_key: `${topic}-old` });
        const keyed = (name: string, payload: unknown) => ({
          topic,
          payload,
          idempotency_key: `${topic}-${name}`,
        });
        const answer = await bulk(proxy, [
          { topic, payload: 1 },
          keyed('a', 2),
          keyed('old', 'old'),
          keyed('old', 'other'),
          { topic, payload: 3 },
          keyed('a', 2),
          { topic, payload: 4, idempotency_key: '' },
        ]);
        expect(answer.status).to.equal(207);
        const { results } = answer.body;
        expect(results.map(({ code }) => code)).to.deep.equal([
          undefined,
          undefined,
          undefined,
          'idempotency_key_reused',
          undefined,
          undefined,
          'invalid_request',
        ]);
        expect(results[2]).to.deep.equal({ ...old, duplicate: true });
        expect(results[5]).to.deep.equal({ ...results[1], duplicate: true });
        expect(results[6]!.field).to.equal('messages[6].idempotency_key');
        expect(await stored(topic)).to.deep.equal(['old', 1, 2, 3]);
      });

      it('answers 201 with nothing but duplicates where the whole is sent again', async () => {
        const topic = freshTopic();
        const items = Array.from({ length: 50 }, (_, i) => ({
          topic: `${topic}-${i % 3}`,
          payload: i,
          idempotency_key: `${topic}-${i}`,
        }));
        const first = await bulk(proxy, items);
        const second = await bulk(proxy, items);
        expect([first.status, second.status]).to.deep.equal([201, 201]);
        expect(second.body.results).to.deep.equal(
          first.body.results.map((result) => ({ ...result, duplicate: true })),
        );
      });

      it('refuses the header, which cannot name many messages', async () => {
        const topic = freshTopic();
        const answer = await bulk(proxy, [{ topic, payload: 1 }], withKey(topic));
        expectProblem(answer, 400, 'invalid_request');
        expect(answer.body.field).to.equal('Idempotency-Key');
        expect(answer.body.detail).to.include('idempotency_key');
        expect(await stored(topic)).to.deep.equal([]);
      });
    });
  });
}
