import { expect } from 'chai';
import fc from 'fast-check';
import {
  freshTopic,
  payloadTexts,
  poll,
  post,
  publish,
  request,
  sendBytes,
  WsClient,
} from '../../support/client.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

const MESSAGE_BYTES_MAX = 1000;
/** What may stand around a payload. */
const ENVELOPE_BYTES_MAX = 64 * 1024;

describe('POST /api/v1/messages', () => {
  let proxy: Proxy;
  let token: string;

  before(async () => {
    proxy = await startProxy({ config: { limits: { max_message_size: MESSAGE_BYTES_MAX } } });
    token = await proxy.token();
  });
  after(() => proxy.stop());

  /** Publishes a body as it is and answers the payload's text as a poll and as a WebSocket deliver it. */
  const delivered = async (topic: string, body: string | Uint8Array): Promise<readonly string[]> => {
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe([topic]);
    expect((await post(proxy, body)).status).to.equal(201);
    const { raw } = await client.next('message');
    await client.close();
    const polled = await poll(proxy, token, { topics: topic, from: 'earliest', client_id: topic });
    return [...payloadTexts(polled.text), ...payloadTexts(raw)];
  };

  describe('what it answers', () => {
    it('answers 201 with message_id, topic and timestamp', async () => {
      const before = Date.now();
      const answer = await post(proxy, { topic: 'orders.created', payload: { order: 1 } });
      expect(answer.status).to.equal(201);
      expect(answer.headers.get('content-type')).to.match(/^application\/json/);
      expect(answer.body).to.have.all.keys('message_id', 'topic', 'timestamp');
      expect(answer.body.topic).to.equal('orders.created');
      expect(answer.body.timestamp).to.equal(new Date(answer.body.timestamp).toISOString());
      expect(Date.parse(answer.body.timestamp)).to.be.within(before, Date.now());
    });

    it('makes the message_id of the topic and of milliseconds and a sequence number', async () => {
      const { body } = await post(proxy, { topic: 'orders.created', payload: 1 });
      const [, ms] = /^orders\.created:(\d{13})-\d{1,4}$/.exec(body.message_id) ?? [];
      expect(Number(ms)).to.equal(Date.parse(body.timestamp));
    });

    it('gives later messages of a topic greater ids', async () => {
      const topic = freshTopic();
      const ids: string[] = [];
      for (let i = 0; i < 20; i++) ids.push(await publish(proxy, topic, i));
      const places = ids.map((id) =>
        id
          .slice(topic.length + 1)
          .split('-')
          .map(Number),
      );
      const numbers = places.map(([ms = 0, sequence = 0]) => ms * 1024 + sequence);
      expect(numbers).to.deep.equal([...new Set(numbers)].sort((a, b) => a - b));
    });

    it('accepts every optional field, and delivers key, priority and headers with the message', async () => {
      const topic = freshTopic();
      const extras = { key: 'customer-7', priority: 9, headers: { traceparent: '00-ab-cd-01', 'x-a': 'é"' } };
      await publish(proxy, topic, 'p', { ttl: 3600, durability: 'stored', ...extras });
      const { body } = await poll(proxy, token, { topics: topic, from: 'earliest', client_id: topic });
      expect(body.messages[0]).to.deep.include(extras);
    });

    it('accepts application/json with a charset, however it is written', async () => {
      for (const type of ['application/json; charset=utf-8', 'Application/JSON;charset=UTF-8']) {
        const answer = await post(proxy, { topic: 't', payload: 1 }, { headers: { 'content-type': type } });
        expect(answer.status, type).to.equal(201);
      }
    });
  });

  describe('payload fidelity', () => {
    const literals = {
      'an integer beyond 2^53': '12345678901234567890123',
      'minus zero': '-0',
      'a number beyond the doubles': '1e400',
      'a decimal with trailing zeros': '1.10000000000000000000',
      'duplicate keys': '{"a":1,"a":2}',
      'keys that look like integers, in their order': '{"2":"b","1":"a","x":0}',
      'white space inside': '{ "a" :\t[ 1 ,\r\n 2 ] }',
      'raw emoji and text beyond ASCII': '"héllo 😀 漢字 \u2028"',
      'escaped emoji': String.raw`"\ud83d\ude00 \u00e9 \/ \u0000"`,
      'a lone escaped surrogate': String.raw`"\ud800"`,
      'a replacement character': '"\uFFFD"',
      'braces, quotes and keys inside strings': String.raw`{"payload":"}","a":"\"],{\\"}`,
      'the name of the next member inside a string': String.raw`"\",\"timestamp\":\""`,
      'an empty object': '{}',
      'an empty array': '[]',
      'an empty string': '""',
      null: 'null',
      false: 'false',
    };
    for (const [name, literal] of Object.entries(literals)) {
      it(`passes ${name} on byte for byte`, async () => {
        const topic = freshTopic();
        const body = ` { "topic" : "${topic}" ,\n "payload" : ${literal} , "ttl": 60 } `;
        expect(await delivered(topic, body)).to.deep.equal([literal, literal]);
      });
    }

    it('passes any JSON value on as it was written', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.json({ noUnicodeString: false }),
          fc.constantFrom('', ' ', '\n\t'),
          async (literal, space) => {
            fc.pre(Buffer.byteLength(literal) <= MESSAGE_BYTES_MAX);
            const topic = freshTopic();
            const body = `{${space}"payload"${space}:${space}${literal}${space},"topic":"${topic}"}`;
            expect(await delivered(topic, body)).to.deep.equal([literal, literal]);
          },
        ),
        { numRuns: 30 },
      );
    });

    it('takes the last payload where the key is there twice, as JSON.parse does', async () => {
      const topic = freshTopic();
      const body = String.raw`{"payload":1,"topic":"${topic}","p\u0061yload":[2]}`;
      expect(await delivered(topic, body)).to.deep.equal(['[2]', '[2]']);
    });

    it('is not misled by a member named payload in another member', async () => {
      const topic = freshTopic();
      const body = `{"headers":{"payload":"no"},"x":{"payload":0},"payload":{"yes":1},"topic":"${topic}"}`;
      expect(await delivered(topic, body)).to.deep.equal(['{"yes":1}', '{"yes":1}']);
    });

    it('passes text on unchanged that arrives in chunks cut inside of characters', async () => {
      const topic = freshTopic();
      const literal = '"\uFFFD 😀"';
      const bytes = Buffer.from(`{"topic":"${topic}","payload":${literal}}`);
      const chunks = [...bytes].map((byte) => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a]));
      const answer = await sendBytes(
        proxy,
        `POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${proxy.publishKey}\r\n`,
        'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n',
        ...chunks,
        '0\r\n\r\n',
      );
      expect(answer).to.match(/^HTTP\/1\.1 201 /);
      const polled = await poll(proxy, token, { topics: topic, from: 'earliest', client_id: topic });
      expect(payloadTexts(polled.text)).to.deep.equal([literal]);
    });
  });

  it('answers a client that also offers another protocol, as curl --http2 does', async () => {
    const topic = freshTopic();
    const body = `{"topic":"${topic}","payload":1}`;
    const head =
      `POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${proxy.publishKey}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
    const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n';
    const answer = await sendBytes(
      proxy,
      ...[head, offer, body.slice(0, 5), body.slice(5)],
      ...[head, 'Connection: close\r\n\r\n', body],
    );
    expect(answer.match(/HTTP\/1\.1 201 /g)).to.have.length(2);
  });

  describe('limits', () => {
    const ofBytes = (bytes: number): string => `"${'x'.repeat(bytes - 2)}"`;

    it('accepts a payload of exactly the limit and refuses one byte more with 413', async () => {
      const largest = await post(proxy, `{"topic":"t","payload":${ofBytes(MESSAGE_BYTES_MAX)}}`);
      expect(largest.status).to.equal(201);
      const larger = await post(proxy, `{"topic":"t","payload":${ofBytes(MESSAGE_BYTES_MAX + 1)}}`);
      expect(larger.status).to.equal(413);
      expect(larger.body).to.include({ code: 'payload_too_large', field: 'payload', temporary: false });
    });

    it('counts bytes, not characters', async () => {
      const most = (MESSAGE_BYTES_MAX - 4) / 4;
      expect((await post(proxy, { topic: 't', payload: '😀'.repeat(most) })).status).to.equal(201);
      expect((await post(proxy, { topic: 't', payload: '😀'.repeat(most + 1) })).status).to.equal(413);
    });

    it('accepts a body of exactly the limit and refuses one byte more with 413', async () => {
      const body = '{"topic":"t","payload":1}';
      const most = MESSAGE_BYTES_MAX + ENVELOPE_BYTES_MAX;
      expect((await post(proxy, body.padEnd(most))).status).to.equal(201);
      const larger = await post(proxy, body.padEnd(most + 1));
      expect(larger.status).to.equal(413);
      expect(larger.body.code).to.equal('payload_too_large');
      expect(larger.headers.get('connection')).to.equal('close');
    });

    it('refuses a body that grows too large without having said so', async () => {
      const chunk = Buffer.alloc(16 * 1024, ' ');
      const frame = Buffer.concat([Buffer.from('4000\r\n'), chunk, Buffer.from('\r\n')]);
      const answer = await sendBytes(
        proxy,
        `POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${proxy.publishKey}\r\n`,
        'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
        ...Array<Buffer>(5).fill(frame),
      );
      expect(answer).to.match(/^HTTP\/1\.1 413 /);
      expect(answer).to.include('"code":"payload_too_large"');
    });

    it('refuses an absurd Content-Length before any of it has come', async () => {
      const answer = await sendBytes(
        proxy,
        `POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${proxy.publishKey}\r\n`,
        'Content-Type: application/json\r\nContent-Length: 2147483649\r\n\r\n{',
      );
      expect(answer).to.match(/^HTTP\/1\.1 413 /);
    });
  });

  describe('what it refuses', () => {
    const refused = async (body: unknown, field: string): Promise<void> => {
      const answer = await post(proxy, body);
      const what = JSON.stringify(body).slice(0, 100);
      expect(answer.status, what).to.equal(400);
      expect(answer.headers.get('content-type'), what).to.match(/^application\/problem\+json/);
      expect(answer.body, what).to.include({ status: 400, code: 'invalid_request', field, temporary: false });
      expect(answer.body.detail, what).to.include(field);
    };

    it('names the topic that no topic can be called', async () => {
      const names = [
        '',
        '.',
        'a.',
        '.a',
        'a..b',
        'a b',
        'a:b',
        'a{b}',
        '*',
        'a.*',
        '>',
        'ä',
        'a\nb',
        'a\u0000',
      ];
      const long = ['x'.repeat(65), Array(9).fill('a').join('.'), Array(4).fill('x'.repeat(64)).join('.')];
      for (const topic of [
        ...names,
        ...long,
        '$sys',
        '$SYS.a',
        '__proto__ ',
        7,
        null,
        ['a'],
        { a: 1 },
        true,
      ]) {
        await refused({ topic, payload: 1 }, 'topic');
      }
    });

    it('names what is missing', async () => {
      await refused({ payload: 1 }, 'topic');
      await refused({ topic: 't' }, 'payload');
      await refused({}, 'topic');
    });

    it('names a wrong ttl', async () => {
      for (const ttl of [0, -1, 1e12, '60', null, [60], true])
        await refused({ topic: 't', payload: 1, ttl }, 'ttl');
      await refused('{"topic":"t","payload":1,"ttl":1e999}', 'ttl');
    });

    it('names a wrong priority', async () => {
      for (const priority of [-1, 10, 1.5, '5', null])
        await refused({ topic: 't', payload: 1, priority }, 'priority');
    });

    it('names a wrong key', async () => {
      for (const key of ['', 'k'.repeat(257), 7, null, {}])
        await refused({ topic: 't', payload: 1, key }, 'key');
    });

    it('names wrong headers', async () => {
      const many = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`h${i}`, '']));
      for (const headers of [{ 'a b': 'x' }, { '': 'x' }, { a: 'x'.repeat(8192) }, many, 'a', null]) {
        await refused({ topic: 't', payload: 1, headers }, 'headers');
      }
      await refused({ topic: 't', payload: 1, headers: { a: 1 } }, 'headers.a');
    });

    it('names a durability that there is not', async () => {
      for (const durability of ['none', 'FSYNC', '', 1, null, true])
        await refused({ topic: 't', payload: 1, durability }, 'durability');
    });

    it('says that a body which is no object must be one', async () => {
      for (const body of ['[]', '"x"', '7', 'null']) await refused(body, 'body');
      await refused('[{"topic":"t","payload":1}]', 'body');
    });

    const unreadable = async (body: string | Uint8Array): Promise<void> => {
      const answer = await post(proxy, body);
      const what = Buffer.from(body).toString('latin1').slice(0, 80);
      expect(answer.status, what).to.equal(400);
      expect(answer.headers.get('content-type')).to.match(/^application\/problem\+json/);
      expect(answer.body, what).to.include({ code: 'invalid_json', status: 400 });
    };

    it('refuses what is not JSON, and does not repeat it', async () => {
      const bodies = [
        '{',
        '{"topic":"t","payload":}',
        '{"topic":"t","payload":NaN}',
        '{"a":1,}',
        "{'a':1}",
        'secret',
      ];
      for (const body of bodies) await unreadable(body);
      expect((await post(proxy, '{"secret"')).text).not.to.include('secret');
    });

    it('refuses a body nested deeper than 64 levels, however deep', async () => {
      const nested = (depth: number): string =>
        `{"topic":"t","payload":${'['.repeat(depth)}${']'.repeat(depth)}}`;
      expect((await post(proxy, nested(63))).status).to.equal(201);
      await unreadable(nested(64));
      await unreadable(nested(400));
      await unreadable(`{"topic":"t","payload":${'['.repeat(30_000)}`);
    });

    it('does not count brackets in strings as depth', async () => {
      expect((await post(proxy, { topic: 't', payload: '[{'.repeat(200) })).status).to.equal(201);
    });

    const around = (...bytes: readonly number[]): Uint8Array =>
      Buffer.concat([Buffer.from('{"topic":"t","payload":"'), Buffer.from(bytes), Buffer.from('"}')]);

    it('refuses bytes that are not UTF-8', async () => {
      await unreadable(around(0xff));
      await unreadable(around(0xc0, 0xaf));
      await unreadable(around(0xed, 0xa0, 0x80));
      await unreadable(around(0xe2, 0x82));
    });

    it('refuses a cut-off character whose replacement happens to be as long as itself', async () => {
      await unreadable(around(0xf0, 0x9f, 0x98));
      await unreadable(around(0xef, 0xbf, 0xbd, 0xf0, 0x9f, 0x98));
    });

    it('takes __proto__ for a key like any other and is not changed by it', async () => {
      const literal = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}';
      const topic = freshTopic();
      const envelope = `"topic":"${topic}","__proto__":{"polluted":1},"headers":{"__proto__":"x"}`;
      expect(await delivered(topic, `{${envelope},"payload":${literal}}`)).to.deep.equal([literal, literal]);
      expect(({} as { readonly polluted?: number }).polluted).to.equal(undefined);
    });

    const unsupported = async (headers: Readonly<Record<string, string>>): Promise<void> => {
      const answer = await post(proxy, '{"topic":"t","payload":1}', { headers });
      expect(answer.status, JSON.stringify(headers)).to.equal(415);
      expect(answer.body.code).to.equal('unsupported_media_type');
    };

    it('refuses every other content type with 415', async () => {
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
        'application/jsonx',
        'text/json',
        'x',
      ])
        await unsupported({ 'content-type': type });
    });

    it('refuses every content encoding with 415', async () => {
      for (const encoding of ['gzip', 'br', 'deflate', 'gzip, br', 'identity', 'x'])
        await unsupported({ 'content-encoding': encoding });
    });

    it('refuses a request without a body with 415', async () => {
      const answer = await request(proxy, 'POST', '/api/v1/messages', { token: proxy.publishKey });
      expect(answer.status).to.equal(415);
    });

    it('stores nothing of what it refuses', async () => {
      const topic = freshTopic();
      await refused({ topic, payload: 1, ttl: -1 }, 'ttl');
      await unreadable(`{"topic":"${topic}","payload":1`);
      const { body } = await poll(proxy, token, { topics: topic, from: 'earliest', client_id: topic });
      expect(body.messages).to.deep.equal([]);
    });
  });
});
