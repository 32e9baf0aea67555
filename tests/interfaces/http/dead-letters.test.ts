import { expect } from 'chai';
import {
  freshTopic,
  payloads,
  payloadTexts,
  poll,
  publish,
  request,
  terminate,
  type Answer,
} from '../../support/client.js';
import { PUBLISH_KEY, startProxy, type Proxy } from '../../support/proxy.js';

const MANAGER_KEY = 'test-manager-key-0123456789';

describe('/api/v1/topics/{topic}/dead-letters', () => {
  let proxy: Proxy;
  let token: string;
  let topic: string;

  before(async () => {
    proxy = await startProxy({
      config: {
        auth: {
          api_keys: [
            { name: 'publisher', key: PUBLISH_KEY },
            { name: 'manager', key: MANAGER_KEY, manage: ['managed.>'] },
          ],
        },
      },
    });
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    topic = freshTopic('managed.t');
    token = await proxy.token(topic);
  });

  const list = (query = '', who: string | undefined = MANAGER_KEY): Promise<Answer> =>
    request(proxy, 'GET', `/api/v1/topics/${topic}/dead-letters${query}`, { token: who });

  const redrive = (body: unknown, who: string | undefined = MANAGER_KEY): Promise<Answer> =>
    request(proxy, 'POST', `/api/v1/topics/${topic}/dead-letters/redrive`, { token: who, body });

  /** Publishes, delivers and gives up messages with these payloads; answers their ids. */
  const buried = async (...texts: readonly unknown[]): Promise<readonly string[]> => {
    await poll(proxy, token, { topics: topic });
    const ids: string[] = [];
    for (const text of texts) ids.push(await publish(proxy, topic, text, { headers: { own: 'kept' } }));
    const { body } = await poll(proxy, token, { topics: topic });
    expect(body.messages).to.have.length(texts.length);
    expect((await terminate(proxy, token, ids)).body.terminated).to.equal(texts.length);
    return ids;
  };

  it('lists what was given up, as it was published, and says where it comes from and why', async () => {
    const literal = '{"n": 12345678901234567890}';
    const [id] = await buried('first');
    const answer = await list();
    expect(answer.status).to.equal(200);
    expect(answer.headers.get('cache-control')).to.equal('no-store');
    expect(answer.body.dead_letter_topic).to.equal(`dlq.${topic}`);
    expect(payloads(answer.body.messages)).to.deep.equal(['first']);
    const [letter] = answer.body.messages;
    expect(letter!.message_id).to.match(new RegExp(`^dlq\\.${topic}:\\d+-\\d+$`));
    expect(letter!.topic).to.equal(`dlq.${topic}`);
    expect(letter!.headers).to.include({
      own: 'kept',
      'dead-letter-reason': 'terminated',
      'dead-letter-attempts': '1',
      'dead-letter-message-id': id,
    });

    const stored = await request(proxy, 'POST', '/api/v1/messages', {
      token: PUBLISH_KEY,
      body: `{"topic":"${topic}","payload":${literal}}`,
    });
    await poll(proxy, token, { topics: topic });
    await terminate(proxy, token, [stored.body.message_id]);
    expect(payloadTexts((await list()).text)).to.deep.equal(['"first"', literal]);
  });

  it('lists page by page, each going on where the one before it ended', async () => {
    await buried(1, 2, 3);
    const seen: unknown[] = [];
    let query = '?limit=2';
    for (;;) {
      const { body } = await list(query);
      expect(body.messages.length).to.be.at.most(2);
      seen.push(...payloads(body.messages));
      if (body.next === undefined) break;
      query = `?limit=2&from=${body.next}`;
    }
    expect(seen).to.deep.equal([1, 2, 3]);
  });

  it('lists nothing where nothing was given up', async () => {
    const { status, body } = await list();
    expect(status).to.equal(200);
    expect(body).to.deep.equal({ dead_letter_topic: `dlq.${topic}`, messages: [] });
  });

  it('sends those back that are named, as they were published, and names those that are not there', async () => {
    await buried('a', 'b', 'c');
    const letters = (await list()).body.messages;
    const unknown = [`dlq.${topic}:1735689600000-0`, `${topic}:1735689600000-0`];
    const answer = await redrive({ message_ids: [letters[1]!.message_id, ...unknown] });
    expect([answer.status, answer.body]).to.deep.equal([200, { redriven: 1, unknown }]);
    const { body } = await poll(proxy, token, { topics: topic });
    expect(body.messages.map(({ payload, headers, attempt }) => [payload, headers, attempt])).to.deep.equal([
      ['b', { own: 'kept' }, 1],
    ]);
    expect(payloads((await list()).body.messages)).to.deep.equal(['a', 'c']);
  });

  it('sends the oldest back, in their order', async () => {
    await buried('a', 'b', 'c');
    expect((await redrive({ limit: 2 })).body).to.deep.equal({ redriven: 2, unknown: [] });
    expect(payloads((await poll(proxy, token, { topics: topic })).body.messages)).to.deep.equal(['a', 'b']);
    expect((await redrive({ limit: 1000 })).body).to.deep.equal({ redriven: 1, unknown: [] });
    expect((await redrive({ limit: 1000 })).body).to.deep.equal({ redriven: 0, unknown: [] });
    expect((await list()).body.messages).to.deep.equal([]);
  });

  it('are for those who may manage the topic, and tell nobody else anything', async () => {
    await buried('secret');
    for (const who of [token, PUBLISH_KEY]) {
      for (const answer of [await list('', who), await redrive({ limit: 1 }, who)]) {
        expect(answer.status).to.equal(403);
        expect(answer.body).to.include({
          code: 'forbidden',
          detail: `The token does not allow to manage ${topic}.`,
        });
      }
    }
    expect(payloads((await list()).body.messages)).to.deep.equal(['secret']);
    topic = freshTopic('elsewhere');
    expect((await list()).status).to.equal(403);
  });

  it('need a token', async () => {
    const path = `/api/v1/topics/${topic}/dead-letters`;
    expect((await request(proxy, 'GET', path)).status).to.equal(401);
    expect((await request(proxy, 'POST', `${path}/redrive`, { body: { limit: 1 } })).status).to.equal(401);
  });

  it('refuse a topic that is none, whatever is asked of it', async () => {
    for (const bad of ['a%20b', 'orders.*', '%3E', '$sys', 'a%2Fb', '%ff']) {
      const path = `/api/v1/topics/${bad}/dead-letters`;
      for (const answer of [
        await request(proxy, 'GET', path, { token: MANAGER_KEY }),
        await request(proxy, 'POST', `${path}/redrive`, { token: MANAGER_KEY, body: { limit: 1 } }),
      ]) {
        expect(answer.status, bad).to.equal(400);
        expect(answer.body, bad).to.include({ code: 'invalid_request', field: 'topic' });
      }
    }
  });

  it('refuse what they do not understand, naming the field', async () => {
    expect((await list('?limit=0')).body).to.include({ code: 'invalid_request', field: 'limit' });
    expect((await list('?from=yesterday')).body).to.include({ code: 'invalid_request', field: 'from' });
    expect((await redrive({})).body).to.include({ code: 'invalid_request', field: 'message_ids' });
  });
});
