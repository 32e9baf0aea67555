/**
 * The lean publish routes and the Koa routes are two ways to the same thing. Two services that are alike but for the
 * lean routes are sent the same bytes, each by a connection of its own, and must answer with the same bytes, up to the
 * date. Behind each request goes another one: what becomes of the connection is compared with the rest.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { sendBytes } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import {
  answersOf,
  bearer,
  chunked,
  connectTo,
  KEY,
  MESSAGE_BYTES_MAX,
  NEXT,
  openSide,
  ORDERS_KEY,
  requestBytes,
  statusesOf,
  statusOf,
  undated,
  type Side,
} from './lean-sides.js';

const ONE_BYTES_MAX = MESSAGE_BYTES_MAX + 64 * 1024;

interface Asked {
  readonly method?: string;
  readonly path?: string;
  /** Undefined: none. */
  readonly token?: string | undefined;
  readonly type?: string | undefined;
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
  /** Undefined: none is announced. */
  readonly length?: number | undefined;
  readonly version?: string;
}

const BULK = '/api/v1/messages/bulk';

const bytesOf = (asked: Asked): Buffer => {
  const { method = 'POST', path = '/api/v1/messages', headers = [], version = '1.1' } = asked;
  const body = Buffer.from(asked.body ?? '{"topic":"orders.a","payload":{"a":1}}');
  const token = 'token' in asked ? asked.token : KEY;
  const type = 'type' in asked ? asked.type : 'application/json';
  const length = 'length' in asked ? asked.length : body.length;
  return requestBytes(
    `${method} ${path} HTTP/${version}`,
    [
      ...bearer(token),
      ...(type === undefined ? [] : [`Content-Type: ${type}`]),
      ...(length === undefined ? [] : [`Content-Length: ${length}`]),
      ...headers,
    ],
    body,
  );
};

const message = (rest: object, topic = 'orders.a'): string =>
  JSON.stringify({ topic, payload: { a: 1 }, ...rest });

const nested = (levels: number): string =>
  `{"topic":"orders.a","payload":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;

describe('Lean publishing', () => {
  let lean: Side;
  let plain: Side;

  beforeEach(async () => {
    [lean, plain] = await Promise.all([openSide(true), openSide(false)]);
  });
  afterEach(() => Promise.all([lean.close(), plain.close()]));

  /** Has both answer the same bytes; both must say the same, which is answered. */
  const compare = async (...parts: readonly (string | Buffer)[]): Promise<string> => {
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)));
    const [answer, expected] = await Promise.all([lean, plain].map(({ target }) => sendBytes(target, bytes)));
    expect(undated(answer ?? '')).to.equal(undated(expected ?? ''));
    expect(lean.instance.metrics.received).to.equal(plain.instance.metrics.received);
    return answer ?? '';
  };

  const served: Readonly<Record<string, readonly [status: number, asked: Asked]>> = {
    'a message': [201, {}],
    'a message to another topic': [201, { body: message({}, 'news') }],
    'a message with everything': [
      201,
      {
        body: message({
          ttl: 5,
          key: 'k',
          priority: 3,
          headers: { 'x-a': 'é' },
          durability: 'stored',
          idempotency_key: 'i',
        }),
      },
    ],
    'a type with a charset': [201, { type: 'application/json; charset=utf-8' }],
    'a second type, which does not count': [201, { headers: ['Content-Type: text/plain'] }],
    'a token by another case of the word': [
      201,
      { token: undefined, headers: [`authorization: bEARER   ${KEY}  `] },
    ],
    'the header of a key': [201, { headers: ['Idempotency-Key: "a-1"'] }],
    'the header of a key that is none': [400, { headers: ['Idempotency-Key: a,b'] }],
    'the header of a key twice': [400, { headers: ['Idempotency-Key: a', 'Idempotency-Key: b'] }],
    'another key in the header than in the body': [
      400,
      { headers: ['Idempotency-Key: a'], body: message({ idempotency_key: 'b' }) },
    ],
    'an expectation to be told to go on': [201, { headers: ['Expect: 100-continue'] }],
    'HTTP/1.0 with a connection that is to stay': [
      201,
      { version: '1.0', headers: ['Connection: keep-alive'] },
    ],
    'a token of nobody': [401, { token: 'nobody' }],
    'a token that is too long': [401, { token: 'x'.repeat(9000) }],
    'a topic that is not granted': [403, { token: ORDERS_KEY, body: message({}, 'news') }],
    'an empty body': [400, { body: '' }],
    'a body of spaces': [400, { body: '  ' }],
    'what is no JSON': [400, { body: '{"topic":"a",}' }],
    'JSON with something behind it': [400, { body: `${message({})}x` }],
    'a byte order mark': [400, { body: `\ufeff${message({})}` }],
    'what is no UTF-8': [400, { body: Buffer.from('{"topic":"orders.a","payload":"\xff"}', 'latin1') }],
    'JSON that is as deep as it may be': [201, { body: nested(64) }],
    'JSON that is too deep': [400, { body: nested(65) }],
    'a list': [400, { body: '[]' }],
    null: [400, { body: 'null' }],
    'no topic': [400, { body: '{"payload":1}' }],
    'a topic that is none': [400, { body: message({}, 'a..b') }],
    'a topic that is not even ASCII': [400, { body: message({}, 'ключ') }],
    'no payload': [400, { body: '{"topic":"orders.a"}' }],
    'a key that every object has': [
      201,
      { body: '{"topic":"orders.a","payload":1,"__proto__":{"ttl":"x"}}' },
    ],
    'a member twice': [201, { body: '{"topic":"a b","payload":1,"topic":"orders.a","payload":2}' }],
    'a time to live that is none': [400, { body: message({ ttl: -1 }) }],
    'a durability that is none': [400, { body: message({ durability: 'maybe' }) }],
    'a payload that is too large': [413, { body: message({ payload: 'x'.repeat(MESSAGE_BYTES_MAX) }) }],
    'a body that is as large as it may be': [
      201,
      { body: message({}) + ' '.repeat(ONE_BYTES_MAX - message({}).length) },
    ],
    'a bulk': [201, { path: BULK, body: `{"messages":[${message({})},${message({}, 'news')}]}` }],
    'a bulk of good and bad': [
      207,
      {
        path: BULK,
        token: ORDERS_KEY,
        body: `{"messages":[${message({})},${message({}, 'news')},1,${message({ ttl: 0 })},${message({ payload: 'x'.repeat(2000) })}]}`,
      },
    ],
    'a bulk of nothing': [400, { path: BULK, body: '{"messages":[]}' }],
    'a bulk of too many': [400, { path: BULK, body: `{"messages":[${'1,'.repeat(1000)}1]}` }],
    'a bulk that is none': [400, { path: BULK }],
    'a bulk with the header of a key': [
      400,
      { path: BULK, headers: ['Idempotency-Key: a'], body: `{"messages":[${message({})}]}` },
    ],
  };

  const handedOn: Readonly<Record<string, readonly [status: number, asked: Asked]>> = {
    'no token': [401, { token: undefined }],
    'another kind of credentials': [401, { token: undefined, headers: ['Authorization: Basic abc'] }],
    'a token in the query': [201, { token: undefined, path: `/api/v1/messages?token=${KEY}` }],
    'a query without meaning': [201, { path: '/api/v1/messages?a=b' }],
    'a slash at the end': [201, { path: '/api/v1/messages/' }],
    'other letters in the address': [201, { path: '/API/v1/Messages' }],
    'the whole address': [201, { path: 'http://x/api/v1/messages' }],
    'another address': [404, { path: '/api/v1/message' }],
    'no type': [415, { type: undefined }],
    'another type': [415, { type: 'text/plain' }],
    'a type that only looks like JSON': [415, { type: 'application/json-patch+json' }],
    'a type in other letters': [201, { type: 'Application/JSON' }],
    'an encoding': [415, { headers: ['Content-Encoding: gzip'] }],
    'no encoding by name': [415, { headers: ['Content-Encoding: identity'] }],
    chunks: [
      201,
      {
        length: undefined,
        headers: ['Transfer-Encoding: chunked'],
        body: chunked('{"topic":"orders.a",', '"payload":[1]}'),
      },
    ],
    'neither a length nor chunks': [415, { length: undefined, body: '' }],
    'a length that is too large': [413, { length: ONE_BYTES_MAX + 1, body: '' }],
    'a bulk that is too large': [413, { path: BULK, length: 16 * 1024 * 1024 + 1, body: '' }],
    GET: [405, { method: 'GET', length: undefined, body: '' }],
    HEAD: [405, { method: 'HEAD', length: undefined, body: '' }],
    OPTIONS: [200, { method: 'OPTIONS', length: undefined, body: '' }],
    PUT: [405, { method: 'PUT' }],
    DELETE: [405, { method: 'DELETE', path: BULK }],
  };

  describe('serves, and answers as Koa does,', () => {
    for (const [name, [status, asked]] of Object.entries(served)) {
      it(`${name} (${status})`, async () => {
        const answer = await compare(bytesOf(asked), NEXT);
        expect(statusOf(answer)).to.equal(status);
        expect(lean.handedOn()).to.equal(answer.includes('"status":"ok"') ? 1 : 0);
      });
    }

    it('the same message twice under one key (201, and says so), and another one (422)', async () => {
      const first = bytesOf({ headers: ['Idempotency-Key: a'] });
      const other = bytesOf({ headers: ['Idempotency-Key: a'], body: message({}, 'news') });
      const answer = await compare(first, first, other, NEXT);
      expect(statusesOf(answer)).to.deep.equal([201, 201, 422, 200]);
      expect(answer).to.include('"duplicate":true');
      expect(lean.handedOn()).to.equal(1);
    });

    it('the last message of a connection (201)', async () => {
      expect(statusOf(await compare(bytesOf({ headers: ['Connection: close'] })))).to.equal(201);
      expect(statusOf(await compare(bytesOf({ version: '1.0' })))).to.equal(201);
      expect(lean.handedOn()).to.equal(0);
    });

    it('a hundred messages that were sent without waiting', async () => {
      const answer = await compare(
        ...Array.from({ length: 100 }, (_, i) => bytesOf({ body: message({ payload: i }) })),
        NEXT,
      );
      expect(answer.match(/HTTP\/1\.1 201/g)).to.have.lengthOf(100);
    });

    for (const [fault, status] of [
      ['not_stored', 503],
      ['unanswered', 503],
    ] as const) {
      it(`a message that the storage does not take (${status}, ${fault})`, async () => {
        for (const { instance } of [lean, plain]) instance.store.fault = () => fault;
        const answer = await compare(bytesOf({}), NEXT);
        expect(statusOf(answer)).to.equal(status);
        expect(answer).to.include('\r\nRetry-After: ');
      });
    }

    it('a message that meets a mistake of ours (500), which the log hears of', async () => {
      for (const { instance } of [lean, plain]) {
        instance.store.fault = () => {
          throw new Error('a mistake');
        };
      }
      expect(statusOf(await compare(bytesOf({}), NEXT))).to.equal(500);
      expect(lean.logged).to.deep.equal(['request_failed']).and.to.deep.equal(plain.logged);
    });

    it('the last message before it goes, with the end of the connection', async () => {
      for (const side of [lean, plain]) side.drain(true);
      expect(await compare(bytesOf({}))).to.include('\r\nConnection: close\r\n');
      expect(await compare(bytesOf({ body: '' }))).to.include('\r\nConnection: close\r\n');
      expect(lean.handedOn()).to.equal(0);
    });
  });

  describe('hands on to Koa', () => {
    for (const [name, [status, asked]] of Object.entries(handedOn)) {
      it(`${name} (${status})`, async () => {
        const answer = await compare(bytesOf(asked), NEXT);
        expect(statusOf(answer)).to.equal(status);
        expect(lean.handedOn()).to.equal(plain.handedOn());
      });
    }
  });

  describe('reads a body', () => {
    it('that comes byte by byte', async () => {
      const bytes = bytesOf({ body: message({ payload: 'é 😀' }) });
      const answer = await sendSlowly(
        lean,
        [...bytes].map((byte) => Buffer.from([byte])),
      );
      const expected = await sendSlowly(plain, [bytes]);
      expect(undated(answer))
        .to.equal(undated(expected))
        .and.to.match(/^HTTP\/1\.1 201/);
    });

    it('that breaks off, and serves the next one', async () => {
      const whole = bytesOf({});
      for (const cut of [1, 10, 37]) {
        const part = whole.subarray(0, whole.length - cut);
        const [answer, expected] = await Promise.all([lean, plain].map((side) => sendAndEnd(side, part)));
        expect(answer).to.equal(expected);
        expect(lean.instance.metrics.received).to.equal(0);
      }
      expect(statusOf(await compare(whole, NEXT))).to.equal(201);
    });

    it('whose sender is gone before it is answered', async () => {
      let isStored = false;
      const release = lean.instance.store.hold((_call, way) => (isStored ||= way === 'from'));
      const socket = connectTo(lean);
      socket.write(bytesOf({}));
      await eventually(() => expect(isStored).to.be.true);
      socket.resetAndDestroy();
      await eventually(() => expect(lean.gone()).to.equal(1));
      release();
      expect(lean.logged).to.deep.equal([]);
      expect(await sendBytes(lean.target, bytesOf({}), NEXT)).to.match(/^HTTP\/1\.1 201/);
    });
  });

  describe('on any request', () => {
    const field = fc.oneof(
      fc.constantFrom<unknown>(null, true, -1, 0, 1.5, 10, '', 'a', 'a.b', 'é', 'x'.repeat(1001), [], {}),
      fc.jsonValue({ maxDepth: 2 }),
    );
    const body = fc.oneof(
      {
        weight: 4,
        arbitrary: fc
          .dictionary(
            fc.constantFrom(
              'topic',
              'payload',
              'ttl',
              'key',
              'priority',
              'headers',
              'durability',
              'idempotency_key',
              'messages',
            ),
            field,
          )
          .map((members) => JSON.stringify(members)),
      },
      {
        weight: 2,
        arbitrary: fc.dictionary(fc.constantFrom('ttl', 'key', 'priority', 'headers'), field).map(message),
      },
      {
        weight: 2,
        arbitrary: fc
          .array(fc.oneof(field, fc.constant(JSON.parse(message({})) as unknown)))
          .map((messages) => JSON.stringify({ messages })),
      },
      { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
    );
    const header = fc.constantFrom(
      'Idempotency-Key: a',
      'Idempotency-Key: "b"',
      'Idempotency-Key: ,',
      'Content-Encoding: br',
      'Accept: text/html',
      'Connection: close',
      'X-A: b',
    );

    it('says what Koa says', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('/api/v1/messages', '/api/v1/messages', BULK, '/api/v1/messages?x'),
          fc.constantFrom(KEY, KEY, ORDERS_KEY, 'nobody', undefined),
          fc.constantFrom(
            'application/json',
            'application/json',
            'application/json;charset=utf-8',
            'text/json',
          ),
          fc.uniqueArray(header, { maxLength: 2 }),
          body,
          async (path, token, type, headers, text) => {
            await compare(bytesOf({ path, token, type, headers, body: text }), NEXT);
          },
        ),
        { numRuns: 300 },
      );
    });
  });
});

/** Each part is written when the one before has left this process. */
const sendSlowly = async (side: Side, parts: readonly Buffer[]): Promise<string> => {
  const socket = connectTo(side).setNoDelay();
  const answer = answersOf(socket);
  for (const part of [...parts, Buffer.from(NEXT)]) {
    await new Promise((resolve) => socket.write(part, resolve));
    await new Promise(setImmediate);
  }
  return answer;
};

/** Sends what is not a whole request, and then that nothing follows. */
const sendAndEnd = (side: Side, part: Buffer): Promise<string> => {
  const socket = connectTo(side);
  socket.end(part);
  return answersOf(socket);
};
