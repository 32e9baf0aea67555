import { expect } from 'chai';
import { bulk, freshTopic, payloads, payloadTexts, poll } from '../../support/client.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

describe('POST /api/v1/messages/bulk', () => {
  let proxy: Proxy;
  let token: string;

  before(async () => {
    proxy = await startProxy({
      config: {
        limits: { max_message_size: 1000 },
        auth: { api_keys: [{ name: 'orders', key: 'orders-key-0123456789', publish: ['orders.>'] }] },
      },
    });
    token = await proxy.token();
  });
  after(() => proxy.stop());

  const publisher = { token: 'orders-key-0123456789' };

  const stored = async (topics: string): Promise<readonly unknown[]> => {
    const { body } = await poll(proxy, token, {
      topics,
      from: 'earliest',
      client_id: freshTopic(),
      max: 1000,
    });
    return payloads(body.messages);
  };

  it('answers 201 with one receipt for each message, in their order', async () => {
    const [a, b] = [freshTopic('orders.a'), freshTopic('orders.b')];
    const answer = await bulk(
      proxy,
      [0, 1, 2, 3, 4].map((i) => ({ topic: i % 2 === 0 ? a : b, payload: i })),
      publisher,
    );
    expect(answer.status).to.equal(201);
    expect(answer.body).to.have.all.keys('results');
    expect(answer.body.results.map(({ topic }) => topic)).to.deep.equal([a, b, a, b, a]);
    for (const result of answer.body.results) {
      expect(result).to.have.all.keys('message_id', 'topic', 'timestamp');
      expect(result.message_id).to.match(new RegExp(`^${result.topic}:\\d{13}-\\d{1,4}$`));
    }
    expect(new Set(answer.body.results.map(({ message_id }) => message_id)).size).to.equal(5);
  });

  it('keeps the order within each topic', async () => {
    const [a, b] = [freshTopic('orders.a'), freshTopic('orders.b')];
    await bulk(
      proxy,
      Array.from({ length: 200 }, (_, i) => ({ topic: i % 2 === 0 ? a : b, payload: i })),
      publisher,
    );
    expect(await stored(a)).to.deep.equal(Array.from({ length: 100 }, (_, i) => 2 * i));
    expect(await stored(b)).to.deep.equal(Array.from({ length: 100 }, (_, i) => 2 * i + 1));
  });

  it('passes every payload on byte for byte', async () => {
    const topic = freshTopic('orders.t');
    const literals = [
      '12345678901234567890123',
      '{ "b":1,\n"a" :2, "a":3}',
      String.raw`"\u00e9]},{\""`,
      '"😀"',
      '[[],{}]',
    ];
    const items = literals.map((literal) => `{"x":[{}],"payload" : ${literal}\t, "topic":"${topic}"}`);
    const answer = await bulk(
      proxy,
      ` { "other":["messages"], "messages" : [ ${items.join(' ,\n')} ] } `,
      publisher,
    );
    expect(answer.status).to.equal(201);
    const { text } = await poll(proxy, token, { topics: topic, from: 'earliest', client_id: topic });
    expect(payloadTexts(text)).to.deep.equal(literals);
  });

  it('takes the last list where messages is there twice, as JSON.parse does', async () => {
    const topic = freshTopic('orders.t');
    await bulk(
      proxy,
      `{"messages":[{"topic":"${topic}","payload":1}],"messages":[{"topic":"${topic}","payload":2}]}`,
      publisher,
    );
    expect(await stored(topic)).to.deep.equal([2]);
  });

  it('answers 207 and stores what is right where some is wrong, naming the field of each', async () => {
    const topic = freshTopic('orders.t');
    const answer = await bulk(
      proxy,
      [
        { topic, payload: 'first' },
        { topic: 'not a topic', payload: 1 },
        { topic },
        { topic, payload: 1, ttl: -1 },
        { topic, payload: 1, headers: { a: 1 } },
        { topic, payload: 'x'.repeat(1000) },
        { topic: 'invoices.new', payload: 1 },
        null,
        [],
        'text',
        { topic, payload: 'last' },
      ],
      publisher,
    );
    expect(answer.status).to.equal(207);
    const { results } = answer.body;
    expect(results.map(({ code, field }) => [code, field])).to.deep.equal([
      [undefined, undefined],
      ['invalid_request', 'messages[1].topic'],
      ['invalid_request', 'messages[2].payload'],
      ['invalid_request', 'messages[3].ttl'],
      ['invalid_request', 'messages[4].headers.a'],
      ['payload_too_large', 'messages[5].payload'],
      ['forbidden', undefined],
      ['invalid_request', 'messages[7]'],
      ['invalid_request', 'messages[8]'],
      ['invalid_request', 'messages[9]'],
      [undefined, undefined],
    ]);
    expect(results[1]!.detail).to.match(/^messages\[1\]\.topic: /);
    expect(results[3]!.detail).to.match(/^messages\[3\]\.ttl: /);
    expect(results[7]!.detail).to.match(/^messages\[7\]: /);
    expect(results.map(({ status }) => status)).to.deep.equal([
      undefined,
      400,
      400,
      400,
      400,
      413,
      403,
      400,
      400,
      400,
      undefined,
    ]);
    expect(await stored(topic)).to.deep.equal(['first', 'last']);
  });

  it('answers 207 where everything is wrong', async () => {
    const answer = await bulk(proxy, [{ topic: '' }, {}], publisher);
    expect(answer.status).to.equal(207);
    expect(answer.body.results.map(({ field }) => field)).to.deep.equal([
      'messages[0].topic',
      'messages[1].topic',
    ]);
  });

  it('takes a thousand messages at once and no more', async () => {
    const topic = freshTopic('orders.t');
    const items = (count: number) => Array.from({ length: count }, (_, i) => ({ topic, payload: i }));
    const refused = await bulk(proxy, items(1001), publisher);
    expect(refused.status).to.equal(400);
    expect(refused.body).to.include({ code: 'invalid_request', field: 'messages' });
    expect(await stored(topic)).to.deep.equal([]);
    const taken = await bulk(proxy, items(1000), publisher);
    expect(taken.status).to.equal(201);
    expect(taken.body.results).to.have.length(1000);
    expect(await stored(topic)).to.deep.equal(items(1000).map(({ payload }) => payload));
  });

  it('refuses a body without a list of messages, naming it', async () => {
    for (const body of [{}, { messages: 'x' }, { messages: {} }, { messages: null }, { messages: [] }]) {
      const answer = await bulk(proxy, body, publisher);
      expect(answer.status).to.equal(400);
      expect(answer.body, JSON.stringify(body)).to.include({ code: 'invalid_request', field: 'messages' });
    }
  });

  it('refuses a body that is not JSON as a whole', async () => {
    const answer = await bulk(proxy, '{"messages":[{"topic":"orders.a","payload":1},]}', publisher);
    expect(answer.status).to.equal(400);
    expect(answer.body.code).to.equal('invalid_json');
  });
});
