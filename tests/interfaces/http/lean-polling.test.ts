/**
 * The lean route of polls and Koa's are two ways to the same thing. Two services that are alike but for the lean routes
 * hold the same messages, are sent the same bytes, each by a connection of its own, and must answer with the same bytes,
 * up to the date. Behind each request goes another one: what becomes of the connection is compared with the rest.
 */
import type { Socket } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { toSnapshot } from '../../../domain/subscription/subscription.js';
import { aMessage } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { aPrincipal } from '../../support/principals.js';
import { settle } from '../../support/settle.js';
import { isCommit } from '../../support/unreliable-store.js';
import {
  answersOf,
  bearer,
  chunked,
  CONNECTIONS_MAX,
  connectTo,
  KEY,
  NEXT,
  openSide,
  ORDERS_KEY,
  requestBytes,
  statusesOf,
  statusOf,
  undated,
  type Side,
} from './lean-sides.js';

const PATH = '/api/v1/poll';
const ACK_TIMEOUT_MS = 30_000;

interface Asked {
  readonly method?: string;
  readonly path?: string;
  /** What stands behind the question mark. */
  readonly query?: string;
  /** Undefined: none. */
  readonly token?: string | undefined;
  readonly headers?: readonly string[];
  readonly body?: string;
  readonly version?: string;
}

const EARLIEST = 'timeout=0&from=earliest&topics=';

const bytesOf = (asked: Asked): Buffer => {
  const { method = 'GET', query = `${EARLIEST}orders.a`, headers = [], version = '1.1', body } = asked;
  const token = 'token' in asked ? asked.token : KEY;
  return requestBytes(
    `${method} ${asked.path ?? `${PATH}?${query}`} HTTP/${version}`,
    [...bearer(token), ...headers],
    body,
  );
};

const pollBytes = (query: string): Buffer => bytesOf({ query });

describe('Lean polling', () => {
  let lean: Side;
  let plain: Side;
  let sides: readonly Side[];

  beforeEach(async () => {
    [lean, plain] = await Promise.all([openSide(true), openSide(false)]);
    sides = [lean, plain];
    await publish('orders.a', '1', '"zwei 😀"');
    await publish('orders.b', '{"b":[]}');
    await publish('news', '"new"');
    pass(1_000);
    await publish('orders.a', '3');
  });
  afterEach(() => Promise.all([lean.close(), plain.close()]));

  /** One topic has messages that have all there is to have. */
  const publish = async (topic: string, ...payloads: readonly string[]): Promise<void> => {
    for (const { instance } of sides) {
      await instance.backend.publish(
        topic,
        ...payloads.map((payload) =>
          topic === 'orders.b'
            ? aMessage({ payload, key: 'k', priority: 3, headers: { 'x-a': 'é' } })
            : aMessage({ payload }),
        ),
      );
    }
  };

  const pass = (ms: number): void => {
    for (const { instance } of sides) instance.backend.clock.advance(ms);
  };

  /** Polls that are being answered, of each of the two. */
  const pollsOpen = (count: number): Promise<void> =>
    eventually(async () => {
      for (const { instance } of sides) expect(instance.metrics.open.long_poll).to.equal(count);
      await settle();
    });

  /** Has both be sent the same bytes; both must come to say the same, which is answered. */
  const compare = async (...parts: readonly (string | Buffer)[]): Promise<string> => {
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)));
    const [answer, expected] = await Promise.all(
      sides.map((side) => {
        const socket = connectTo(side);
        socket.write(bytes);
        return answersOf(socket);
      }),
    );
    expect(undated(answer ?? '')).to.equal(undated(expected ?? ''));
    expect(lean.instance.metrics.delivered).to.deep.equal(plain.instance.metrics.delivered);
    expect(lean.logged).to.deep.equal(plain.logged);
    return answer ?? '';
  };

  /** The subscription of whoever polls with KEY and does not name itself; both must have the same. */
  const recorded = async (): Promise<unknown> => {
    const wanted = { principal: aPrincipal({ id: 'key:all' }), clientId: 'default' };
    const [state, expected] = await Promise.all(
      sides.map(async ({ instance }) => toSnapshot(await instance.recorded(wanted))),
    );
    expect(state).to.deep.equal(expected);
    return state;
  };

  const payloads = (answer: string): readonly unknown[] =>
    [...answer.matchAll(/"payload":(.*?),"timestamp"/g)].map(
      ([, payload]) => JSON.parse(payload ?? '') as unknown,
    );

  const served: Readonly<Record<string, readonly [status: number, asked: Asked]>> = {
    'a poll': [200, { query: 'topics=orders.a&timeout=0' }],
    'a poll from the first message on': [200, {}],
    'a poll from an offset on': [200, { query: 'topics=orders.a&timeout=0&from=1735689600000-0' }],
    'a poll from a time on': [200, { query: 'topics=orders.a&timeout=0&from=2025-01-01T00:00:00.5Z' }],
    'a poll from a time in another zone': [
      200,
      { query: 'topics=orders.a&timeout=0&from=2025-01-01T02:00:00%2B02:00' },
    ],
    'a time whose plus is a space': [
      400,
      { query: 'topics=orders.a&timeout=0&from=2025-01-01T02:00:00+02:00' },
    ],
    'several topics': [200, { query: `${EARLIEST}orders.a,news,orders.b,nothing` }],
    'several topics, encoded': [200, { query: `${EARLIEST}orders%2Ea%2cne%77s` }],
    'topics by name and by pattern': [200, { query: `${EARLIEST}orders.*,news` }],
    'all topics': [200, { query: `${EARLIEST}>` }],
    'all topics, encoded': [200, { query: `${EARLIEST}%3E` }],
    'a pattern that is wider than the grants': [200, { token: ORDERS_KEY, query: `${EARLIEST}>` }],
    'topics named twice': [200, { query: `${EARLIEST}orders.a&topics=news` }],
    'any other parameter twice': [200, { query: `${EARLIEST}orders.a&max=1&max=x&timeout=7&from=latest` }],
    'a name with other letters': [400, { query: 'TOPICS=orders.a&timeout=0' }],
    'an encoded name': [200, { query: 't%6Fpics=orders.a&timeout=0' }],
    'parameters without text': [200, { query: `${EARLIEST}orders.a&max=&client_id=&delivery=&ack_timeout=` }],
    'parameters without even an equals sign': [200, { query: `${EARLIEST}orders.a&max&client_id&` }],
    'empty parameters': [200, { query: `&&${EARLIEST}orders.a&&=&=x` }],
    'an unknown parameter': [200, { query: `${EARLIEST}orders.a&a=b` }],
    'a question mark': [200, { query: `?&${EARLIEST}orders.a&a=?` }],
    'signs that addresses have encoded otherwise': [200, { query: `${EARLIEST}orders.a&a="<>\\^\`{|}'` }],
    'an encoding that is none': [400, { query: `${EARLIEST}orders.a%zz` }],
    'an encoding that is no UTF-8': [400, { query: `${EARLIEST}orders.a%ff` }],
    'an encoded end of a line': [400, { query: `${EARLIEST}orders.a%0d%0aX:%20y` }],
    'a plus sign in a topic': [400, { query: `${EARLIEST}orders+a` }],
    'at most once': [200, { query: `${EARLIEST}orders.a&delivery=at_most_once` }],
    'no more than one message': [200, { query: `${EARLIEST}orders.a&max=1` }],
    'a name of its own': [200, { query: `${EARLIEST}orders.a&client_id=phone&ack_timeout=0.5` }],
    'a query that is too long to be kept': [200, { query: `${EARLIEST}orders.a&a=${'x'.repeat(2_000)}` }],
    'a token in the header and in the query': [200, { query: `${EARLIEST}orders.a&token=nobody` }],
    'a token by another case of the word': [
      200,
      { token: undefined, headers: [`authorization: bEARER   ${KEY}  `] },
    ],
    'a second token, which does not count': [200, { headers: ['Authorization: Bearer nobody'] }],
    'HTTP/1.0 with a connection that is to stay': [
      200,
      { version: '1.0', headers: ['Connection: keep-alive'] },
    ],
    'an expectation to be told to go on': [200, { headers: ['Expect: 100-continue'] }],
    'a body': [200, { headers: ['Content-Length: 5'], body: 'hello' }],
    'a body in chunks': [200, { headers: ['Transfer-Encoding: chunked'], body: chunked('hel', 'lo') }],
    'a body that is a request': [200, { headers: [`Content-Length: ${NEXT.length}`], body: NEXT }],
    'a token of nobody': [401, { token: 'nobody' }],
    'a token of nobody and a bad query': [401, { token: 'nobody', query: '' }],
    'a token that is too long': [401, { token: 'x'.repeat(9_000) }],
    'a topic that is not granted': [403, { token: ORDERS_KEY, query: `${EARLIEST}orders.a,news` }],
    'a topic that is not granted, and only if it is': [403, { token: ORDERS_KEY, query: 'topics=news' }],
    'an empty query': [400, { query: '' }],
    'no topics': [400, { query: 'timeout=0' }],
    'no text for the topics': [400, { query: EARLIEST }],
    'a topic that is none': [400, { query: `${EARLIEST}orders.a,a..b` }],
    'a pattern that is none': [400, { query: `${EARLIEST}a.>.b` }],
    'too many topics': [400, { query: EARLIEST + Array.from({ length: 51 }, (_, i) => `t${i}`).join(',') }],
    'a timeout that is none': [400, { query: 'topics=orders.a&timeout=1.5' }],
    'a timeout that is too long': [400, { query: 'topics=orders.a&timeout=61' }],
    'a max that is none': [400, { query: `${EARLIEST}orders.a&max=0` }],
    'a client_id that is none': [400, { query: `${EARLIEST}orders.a&client_id=%C3%A4` }],
    'a delivery that is none': [400, { query: `${EARLIEST}orders.a&delivery=__proto__` }],
    'a start that is none': [400, { query: 'timeout=0&topics=orders.a&from=now' }],
    'an ack_timeout that is none': [400, { query: `${EARLIEST}orders.a&ack_timeout=-1` }],
    'everything wrong at once': [400, { query: 'topics=a..b&timeout=x&max=x&client_id=%00&from=x' }],
  };

  const handedOn: Readonly<Record<string, readonly [status: number, asked: Asked]>> = {
    'no token': [401, { token: undefined }],
    'another kind of credentials': [401, { token: undefined, headers: ['Authorization: Basic abc'] }],
    'a token of two words': [401, { token: 'a b' }],
    'a token in the query': [200, { token: undefined, query: `${EARLIEST}orders.a&token=${KEY}` }],
    'a token of nobody in the query': [401, { token: undefined, query: `${EARLIEST}orders.a&token=x` }],
    'no query': [400, { path: PATH }],
    'a fragment': [200, { query: `${EARLIEST}orders.a#,news` }],
    'no query but a fragment': [400, { path: `${PATH}#?${EARLIEST}orders.a` }],
    'a slash at the end': [200, { path: `${PATH}/?${EARLIEST}orders.a` }],
    'other letters in the address': [200, { path: `/API/v1/Poll?${EARLIEST}orders.a` }],
    'an encoded letter in the address': [404, { path: `/api/v1/p%6fll?${EARLIEST}orders.a` }],
    'the whole address': [200, { path: `http://x${PATH}?${EARLIEST}orders.a` }],
    'two slashes': [404, { path: `/${PATH}?${EARLIEST}orders.a` }],
    'an encoded question mark': [404, { path: `${PATH}%3F${EARLIEST}orders.a` }],
    'another address': [404, { path: `/api/v1/polls?${EARLIEST}orders.a` }],
    HEAD: [405, { method: 'HEAD' }],
    OPTIONS: [200, { method: 'OPTIONS' }],
    POST: [405, { method: 'POST', headers: ['Content-Length: 2'], body: '{}' }],
    PUT: [405, { method: 'PUT' }],
    DELETE: [405, { method: 'DELETE' }],
  };

  describe('serves, and answers as Koa does,', () => {
    for (const [name, [status, asked]] of Object.entries(served)) {
      it(`${name} (${status})`, async () => {
        const answer = await compare(bytesOf(asked), NEXT);
        expect(statusOf(answer)).to.equal(status);
        expect(lean.handedOn()).to.equal(1);
        await recorded();
      });
    }

    it('the last poll of a connection (200)', async () => {
      expect(statusOf(await compare(bytesOf({ headers: ['Connection: close'] })))).to.equal(200);
      expect(statusOf(await compare(bytesOf({ version: '1.0' })))).to.equal(200);
      expect(lean.handedOn()).to.equal(0);
    });

    it('one poll after the other, at least once: again what was not acknowledged in time', async () => {
      const poll = (): Promise<string> => compare(pollBytes(`${EARLIEST}orders.a`), NEXT);
      expect(await poll())
        .to.include('"new_subscription":true')
        .and.to.include('"attempt":1');
      expect(payloads(await poll())).to.deep.equal([]);
      await publish('orders.a', '4');
      expect(payloads(await poll())).to.deep.equal([4]);
      pass(ACK_TIMEOUT_MS);
      const again = await poll();
      expect(payloads(again)).to.deep.equal([1, 'zwei ð\u009f\u0098\u0080', 3, 4]);
      expect(again).to.include('"attempt":2');
      await recorded();
    });

    it('one poll after the other, at most once: nothing again', async () => {
      const poll = (): Promise<string> =>
        compare(pollBytes(`${EARLIEST}orders.a&delivery=at_most_once&max=2`), NEXT);
      expect(payloads(await poll())).to.have.length(2);
      expect(payloads(await poll())).to.deep.equal([3]);
      pass(ACK_TIMEOUT_MS);
      expect(payloads(await poll())).to.deep.equal([]);
      await recorded();
    });

    it('another guarantee than the subscription has (409)', async () => {
      await compare(bytesOf({}), NEXT);
      const answer = await compare(pollBytes(`${EARLIEST}orders.a&delivery=at_most_once`), NEXT);
      expect(statusOf(answer)).to.equal(409);
    });

    it('the gap in front of what is left', async () => {
      await compare(pollBytes(`${EARLIEST}orders.a&max=1`), NEXT);
      for (const { instance } of sides) {
        const { store } = instance.backend;
        const stream = { kind: 'topic', topic: 'orders.a' } as Parameters<typeof store.lastOf>[0];
        await store.trim(stream, store.lastOf(stream).offset)();
      }
      expect(await compare(bytesOf({}), NEXT)).to.include('"reason":"retention"');
    });

    it('polls that were sent without waiting, in their order', async () => {
      const answer = await compare(
        ...Array.from({ length: 3 }, () => pollBytes(`${EARLIEST}orders.a&max=1&client_id=one`)),
        bytesOf({ token: 'nobody' }),
        pollBytes(`${EARLIEST}news&client_id=two`),
        NEXT,
      );
      expect(statusesOf(answer)).to.deep.equal([200, 200, 200, 401, 200, 200]);
      expect(lean.handedOn()).to.equal(1);
    });

    for (const fault of ['not_stored', 'lost', 'unanswered'] as const) {
      it(`a poll that the storage does not serve (503, ${fault})`, async () => {
        for (const { instance } of sides) instance.store.fault = () => fault;
        const answer = await compare(bytesOf({}), NEXT);
        expect(statusOf(answer)).to.equal(503);
        expect(answer).to.include('\r\nRetry-After: 1\r\n');
        expect(lean.handedOn()).to.equal(1);
      });
    }

    it('a poll that meets a mistake of ours (500), which the log hears of', async () => {
      for (const { instance } of sides) {
        instance.store.fault = () => {
          throw new Error('a mistake');
        };
      }
      // More often than there is room: what a failed poll has taken is free again.
      for (let i = 0; i <= CONNECTIONS_MAX; i++) {
        expect(statusOf(await compare(bytesOf({}), NEXT))).to.equal(500);
      }
      expect(lean.logged).to.deep.equal(Array(CONNECTIONS_MAX + 1).fill('request_failed'));
      await pollsOpen(0);
    });

    it('a poll on whose way in is a mistake of ours (500), which the log hears of', async () => {
      for (const side of sides) side.onAuthenticating = () => Promise.reject(new Error('a mistake'));
      expect(statusOf(await compare(bytesOf({}), NEXT))).to.equal(500);
      expect(lean.logged).to.deep.equal(['request_failed']);
    });

    it('the last poll before it goes, with the end of the connection', async () => {
      for (const side of sides) side.drain(true);
      for (const asked of [{}, { query: '' }, { token: 'nobody' }]) {
        expect(await compare(bytesOf(asked))).to.include('\r\nConnection: close\r\n');
      }
      expect(lean.handedOn()).to.equal(0);
    });
  });

  describe('hands on to Koa', () => {
    for (const [name, [status, asked]] of Object.entries(handedOn)) {
      it(`${name} (${status})`, async () => {
        const answer = await compare(bytesOf(asked), NEXT);
        expect(statusOf(answer)).to.equal(status);
        expect(lean.handedOn()).to.equal(2).and.to.equal(plain.handedOn());
        await recorded();
      });
    }
  });

  describe('has a poll wait', () => {
    const WAITING = 'topics=orders.a&client_id=waiting';

    it('for as long as it asks for', async () => {
      for (const [timeout, ms] of [
        ['&timeout=1', 1_000],
        ['&timeout=60', 60_000],
        ['&timeout=', 30_000],
        ['', 30_000],
      ] as const) {
        let isAnswered = false;
        const waiting = compare(pollBytes(WAITING + timeout), NEXT).finally(() => (isAnswered = true));
        await pollsOpen(1);
        pass(ms - 1);
        await settle();
        expect(isAnswered).to.be.false;
        pass(1);
        expect(await waiting).to.include('{"messages":[]');
      }
    });

    it('until there is a message', async () => {
      for (const topics of ['orders.a', 'orders.a,news', '>', 'orders.*']) {
        const waiting = compare(pollBytes(`topics=${topics}&client_id=waiting`), NEXT);
        await pollsOpen(1);
        await publish('orders.a', '"told"');
        expect(payloads(await waiting)).to.deep.equal(['told']);
      }
      expect(lean.handedOn()).to.equal(4);
    });

    it('and those behind it, on the same connection, be answered after it', async () => {
      const waiting = compare(pollBytes(WAITING), pollBytes(`${EARLIEST}news`), bytesOf({ query: '' }), NEXT);
      await pollsOpen(1);
      await eventually(() => expect(lean.instance.metrics.delivered.long_poll).to.equal(1));
      await publish('orders.a', '"late"');
      const answer = await waiting;
      expect(statusesOf(answer)).to.deep.equal([200, 200, 400, 200]);
      expect(payloads(answer)).to.deep.equal(['late', 'new']);
    });

    it('until it is to go', async () => {
      const waiting = compare(pollBytes(WAITING));
      await pollsOpen(1);
      for (const side of sides) {
        side.drain(true);
        side.instance.polls.drain();
      }
      expect(await waiting).to.include('\r\nConnection: close\r\n');
    });

    it('in a place of its own, of which there are so many (503)', async () => {
      const waiting = Array.from({ length: CONNECTIONS_MAX }, (_, i) =>
        compare(pollBytes(`topics=orders.a&client_id=w${i}`), NEXT),
      );
      await pollsOpen(CONNECTIONS_MAX);
      for (const asked of [{}, { query: '' }]) {
        const answer = await compare(bytesOf(asked), NEXT);
        expect(statusOf(answer)).to.equal(503);
        expect(answer).to.include('"too_many_connections"').and.to.include('\r\nRetry-After: 1\r\n');
      }
      expect(statusOf(await compare(bytesOf({ token: 'nobody' }), NEXT))).to.equal(401);
      await publish('orders.a', '"told"');
      for (const answer of await Promise.all(waiting)) expect(payloads(answer)).to.deep.equal(['told']);
      expect(statusOf(await compare(bytesOf({}), NEXT))).to.equal(200);
    });
  });

  describe('when the client hangs up', () => {
    /** Has both be sent the same bytes by connections that are about to break. */
    const send = (bytes: Buffer): readonly Socket[] =>
      sides.map((side) => {
        const socket = connectTo(side);
        socket.write(bytes);
        return socket;
      });

    const hangUp = async (sockets: readonly Socket[]): Promise<void> => {
      const goneBefore = lean.gone();
      for (const socket of sockets) socket.resetAndDestroy();
      await eventually(() => {
        for (const side of sides) expect(side.gone()).to.equal(goneBefore + 1);
      });
    };

    it('takes nothing for it, and has its place for somebody else', async () => {
      const query = 'topics=orders.a&client_id=leaving';
      for (let i = 0; i <= CONNECTIONS_MAX; i++) {
        const sockets = send(pollBytes(query));
        await pollsOpen(1);
        await hangUp(sockets);
        await pollsOpen(0);
      }
      await publish('orders.a', '"kept"');
      const answer = await compare(pollBytes(`${query}&timeout=0`), NEXT);
      expect(payloads(answer)).to.deep.equal(['kept']);
      expect(answer).to.include('"attempt":1');
      expect(lean.logged).to.deep.equal([]);
    });

    for (const [delivery, attempts] of [
      ['at_least_once', ['"attempt":2', '"attempt":2', '"attempt":2']],
      ['at_most_once', []],
    ] as const) {
      it(`gives back what was taken for it at that very moment, if it may (${delivery})`, async () => {
        const query = `${EARLIEST}orders.a&delivery=${delivery}`;
        // The second one of each: the first one is that of the opening.
        const commits = sides.map(() => 0);
        const releases = sides.map(({ instance }, side) =>
          instance.store.hold((call, way) => {
            if (!isCommit(call) || way === 'to') return false;
            commits[side] = (commits[side] ?? 0) + 1;
            return commits[side] === 2;
          }),
        );
        const sockets = send(pollBytes(query));
        await eventually(() => expect(commits).to.deep.equal([2, 2]));
        await hangUp(sockets);
        for (const release of releases) release();
        await pollsOpen(0);
        expect(lean.instance.metrics.dropped).to.deep.equal(plain.instance.metrics.dropped);
        const answer = await compare(pollBytes(query), NEXT);
        expect(answer.match(/"attempt":\d/g) ?? []).to.deep.equal(attempts);
        await recorded();
      });
    }

    it('lets what it had sent behind that poll have its time, since nothing tells of its end', async () => {
      const sockets = send(
        Buffer.concat([pollBytes('topics=orders.a&client_id=a'), pollBytes('topics=orders.a&client_id=b')]),
      );
      await pollsOpen(2);
      await hangUp(sockets);
      await pollsOpen(1);
      pass(30_000);
      await pollsOpen(0);
      expect(statusOf(await compare(bytesOf({}), NEXT))).to.equal(200);
      expect(lean.logged).to.deep.equal([]);
    });
  });

  describe('on any query', () => {
    const text = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom('', '0', '1', '2', '1.5', '-1', 'x', '1001', '%31', '+1') },
      { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 5 }).map(encodeURIComponent) },
      { weight: 1, arbitrary: fc.stringMatching(/^[!-~]{0,6}$/) },
    );
    const topics = fc
      .array(
        fc.oneof(
          {
            weight: 6,
            arbitrary: fc.constantFrom('orders.a', 'orders.b', 'orders.*', 'news', '>', 'orders%2Eb'),
          },
          { weight: 1, arbitrary: text },
        ),
        { minLength: 1, maxLength: 3 },
      )
      .map((names) => `topics=${names.join(',')}`);
    const parameter = fc.oneof(
      { weight: 4, arbitrary: topics },
      {
        weight: 4,
        arbitrary: fc.constantFrom(
          'max=1',
          'max=2',
          'from=earliest',
          'from=latest',
          'client_id=a',
          'client_id=b',
          'delivery=at_most_once',
          'delivery=at_least_once',
          'ack_timeout=1',
          'ack_timeout=0.5',
        ),
      },
      {
        weight: 2,
        arbitrary: fc
          .tuple(fc.constantFrom('max', 'from', 'client_id', 'delivery', 'ack_timeout', 'token', 'a'), text)
          .map(([name, value]) => `${name}=${value}`),
      },
      { weight: 1, arbitrary: fc.stringMatching(/^[!-~]{0,12}$/) },
    );
    // The first timeout counts, and none of these has a poll wait.
    const query = fc
      .tuple(
        fc.constantFrom('timeout=0', 'timeout=0', 'timeout=0', 'timeout=00', 'timeout=-1', 'timeout=61'),
        fc.oneof({ weight: 9, arbitrary: topics }, { weight: 1, arbitrary: fc.constant('') }),
        fc.array(parameter, { maxLength: 4 }),
      )
      .map((parts) => parts.flat().join('&'));
    const header = fc.constantFrom(
      'Accept: text/html',
      'Connection: close',
      'Connection: keep-alive',
      'X-A: b',
    );
    const happening = fc.record({
      published: fc.array(fc.constantFrom('orders.a', 'orders.b', 'news', 'orders.c'), { maxLength: 2 }),
      ms: fc.constantFrom(0, 0, 400, 700, ACK_TIMEOUT_MS),
    });

    it('says what Koa says', async function () {
      this.timeout(60_000);
      await fc.assert(
        fc.asyncProperty(
          happening,
          fc.constantFrom(PATH, PATH, PATH, `${PATH}/`),
          fc.array(query, { minLength: 1, maxLength: 2 }),
          fc.constantFrom(KEY, KEY, KEY, ORDERS_KEY, 'nobody', undefined),
          fc.uniqueArray(header, { maxLength: 1 }),
          async ({ published, ms }, path, queries, token, headers) => {
            for (const topic of published) await publish(topic, '"more"');
            pass(ms);
            const requests = queries.map((each) => bytesOf({ path: `${path}?${each}`, token, headers }));
            await compare(...requests, NEXT);
          },
        ),
        { numRuns: 300 },
      );
      await recorded();
    });
  });
});
