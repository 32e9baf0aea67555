import { expect } from 'chai';
import { ack, bulk, freshTopic, metric, payloads, poll, publish, type Answer } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

const ACK_TIMEOUT_MS = 30_000;

describe('GET /api/v1/poll', () => {
  let clock: ManualClock;
  let proxy: Proxy;
  let token: string;
  let topic: string;

  before(async () => {
    clock = new ManualClock();
    proxy = await startProxy({ clock, config: { delivery: { redelivery_backoff: [] } } });
  });
  after(() => proxy.stop());
  // Everybody is somebody new, so that no test meets the subscription of another.
  beforeEach(async () => {
    topic = freshTopic();
    token = await proxy.token(topic);
  });

  const received = (answer: Answer): readonly unknown[] => {
    expect(answer.status, answer.text).to.equal(200);
    return payloads(answer.body.messages);
  };

  /** Polls, and acknowledges what came. */
  const pollAndAck = async (
    parameters: Readonly<Record<string, string | number>>,
  ): Promise<readonly unknown[]> => {
    const answer = await poll(proxy, token, parameters);
    const ids = answer.body.messages.map(({ message_id }) => message_id);
    if (ids.length > 0) await ack(proxy, token, ids, parameters['client_id'] as string | undefined);
    return received(answer);
  };

  const pollsWaiting = (count: number): Promise<void> =>
    eventually(async () =>
      expect(await metric(proxy, 'proxy_connections_total{type="long_poll"}')).to.equal(count),
    );

  describe('when it answers', () => {
    it('answers with an empty list at once where the timeout is 0', async () => {
      const answer = await poll(proxy, token, { topics: topic, timeout: 0 });
      expect(answer.body).to.deep.equal({ messages: [], new_subscription: true });
      expect(answer.headers.get('cache-control')).to.equal('no-store');
      expect(answer.headers.get('content-type')).to.match(/^application\/json/);
    });

    it('opens the subscription, so that what is published later is kept for it', async () => {
      await publish(proxy, topic, 'before');
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal([]);
      await publish(proxy, topic, 'after');
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal(['after']);
    });

    it('answers at once where something is there', async () => {
      await poll(proxy, token, { topics: topic });
      const id = await publish(proxy, topic, { a: 1 });
      const answer = await poll(proxy, token, { topics: topic, timeout: 60 });
      expect(answer.body).to.deep.equal({
        messages: [
          {
            message_id: id,
            topic,
            payload: { a: 1 },
            timestamp: new Date(clock.now()).toISOString(),
            attempt: 1,
          },
        ],
      });
    });

    it('waits, and answers when something is published', async () => {
      const waiting = poll(proxy, token, { topics: topic, timeout: 60 });
      await pollsWaiting(1);
      await publish(proxy, topic, 'at last');
      expect(received(await waiting)).to.deep.equal(['at last']);
    });

    it('answers with an empty list when the time is up, and not before', async () => {
      let answered = false;
      const waiting = poll(proxy, token, { topics: topic, timeout: 20 }).finally(() => (answered = true));
      await pollsWaiting(1);
      clock.advance(19_999);
      await pollsWaiting(1);
      expect(answered).to.equal(false);
      clock.advance(1);
      expect((await waiting).body).to.deep.equal({ messages: [], new_subscription: true });
      await pollsWaiting(0);
    });

    it('says that the subscription is new, to the first poll only', async () => {
      const parameters = { topics: topic, timeout: 0 };
      expect((await poll(proxy, token, parameters)).text).to.include('"new_subscription":true');
      expect((await poll(proxy, token, parameters)).text).to.equal('{"messages":[]}');
    });

    it('waits for half a minute where no timeout is asked for', async () => {
      const waiting = poll(proxy, token, { topics: topic, timeout: '' });
      await pollsWaiting(1);
      clock.advance(29_999);
      await pollsWaiting(1);
      clock.advance(1);
      expect(received(await waiting)).to.deep.equal([]);
    });

    it('answers polls that wait when the proxy stops', async () => {
      const stopping = await startProxy();
      const waiting = poll(stopping, token, { topics: topic, timeout: 60 });
      await eventually(async () =>
        expect(await metric(stopping, 'proxy_connections_total{type="long_poll"}')).to.equal(1),
      );
      await stopping.stop();
      expect(received(await waiting)).to.deep.equal([]);
    });
  });

  describe('what it answers with', () => {
    it('gives no more than max messages, and the rest later', async () => {
      await poll(proxy, token, { topics: topic });
      await bulk(
        proxy,
        [1, 2, 3, 4, 5].map((payload) => ({ topic, payload })),
      );
      expect(received(await poll(proxy, token, { topics: topic, max: 2 }))).to.deep.equal([1, 2]);
      expect(received(await poll(proxy, token, { topics: topic, max: 2 }))).to.deep.equal([3, 4]);
      expect(received(await poll(proxy, token, { topics: topic, max: 2 }))).to.deep.equal([5]);
    });

    it('gives a hundred messages where max is not asked for', async () => {
      await poll(proxy, token, { topics: topic });
      await bulk(
        proxy,
        Array.from({ length: 150 }, (_, payload) => ({ topic, payload })),
      );
      expect(received(await poll(proxy, token, { topics: topic }))).to.have.length(100);
      expect(received(await poll(proxy, token, { topics: topic }))).to.have.length(50);
    });

    it('gives what is in several topics, in order within each', async () => {
      const topics = [topic, freshTopic(), freshTopic()];
      await poll(proxy, token, { topics: topics.join(',') });
      for (let i = 0; i < 9; i++) await publish(proxy, topics[i % 3]!, i);
      const { body } = await poll(proxy, token, { topics: topics.join(',') });
      for (const [i, name] of topics.entries()) {
        expect(payloads(body.messages.filter((message) => message.topic === name))).to.deep.equal([
          i,
          i + 3,
          i + 6,
        ]);
      }
    });

    it('does not let a topic with much to give keep another waiting', async () => {
      const quiet = freshTopic();
      await poll(proxy, token, { topics: `${topic},${quiet}` });
      await bulk(
        proxy,
        Array.from({ length: 50 }, (_, payload) => ({ topic, payload })),
      );
      await publish(proxy, quiet, 'hear me');
      const first = received(await poll(proxy, token, { topics: `${topic},${quiet}`, max: 10 }));
      const second = received(await poll(proxy, token, { topics: `${topic},${quiet}`, max: 10 }));
      expect([...first, ...second]).to.include('hear me');
    });

    it('gives only what this poll asks for, and keeps the rest of the subscription', async () => {
      const other = freshTopic();
      await poll(proxy, token, { topics: `${topic},${other}` });
      await publish(proxy, topic, 'a');
      await publish(proxy, other, 'b');
      expect(received(await poll(proxy, token, { topics: other }))).to.deep.equal(['b']);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal(['a']);
    });

    it('gives what is in the topics that a pattern matches, also in those that come into being later', async () => {
      const pattern = `${topic}.*.created,${topic}.all.>`;
      await publish(proxy, `${topic}.eu.created`, 0);
      expect(received(await poll(proxy, token, { topics: pattern }))).to.deep.equal([]);
      await publish(proxy, `${topic}.eu.created`, 1);
      await publish(proxy, `${topic}.us.created`, 2);
      await publish(proxy, `${topic}.us.deleted`, 3);
      await publish(proxy, `${topic}.all.a.b`, 4);
      await publish(proxy, `${topic}.all`, 5);
      await publish(proxy, topic, 6);
      expect(received(await poll(proxy, token, { topics: pattern }))).to.have.members([1, 2, 4]);
    });

    it('wakes up for a topic that comes into being while it waits', async () => {
      const waiting = poll(proxy, token, { topics: `${topic}.>`, timeout: 60 });
      await pollsWaiting(1);
      await publish(proxy, `${topic}.new`, 'first of its kind');
      expect(received(await waiting)).to.deep.equal(['first of its kind']);
    });

    it('does not give what has expired', async () => {
      await poll(proxy, token, { topics: topic });
      await publish(proxy, topic, 'short', { ttl: 10 });
      await publish(proxy, topic, 'long', { ttl: 20 });
      clock.advance(10_000);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal(['long']);
    });

    it('does not give again what has expired meanwhile', async () => {
      await poll(proxy, token, { topics: topic });
      await publish(proxy, topic, 'once', { ttl: 40 });
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal(['once']);
      clock.advance(2 * ACK_TIMEOUT_MS);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal([]);
    });
  });

  describe('where a subscription begins', () => {
    it('begins with the first message where it is asked to', async () => {
      for (const payload of [1, 2, 3]) await publish(proxy, topic, payload);
      expect(received(await poll(proxy, token, { topics: topic, from: 'earliest' }))).to.deep.equal([
        1, 2, 3,
      ]);
    });

    it('begins behind an offset', async () => {
      await publish(proxy, topic, 1);
      const id = await publish(proxy, topic, 2);
      await publish(proxy, topic, 3);
      const from = id.slice(id.indexOf(':') + 1);
      expect(received(await poll(proxy, token, { topics: topic, from }))).to.deep.equal([3]);
    });

    it('begins at a time, the messages of that very instant included', async () => {
      await publish(proxy, topic, 1);
      clock.advance(5_000);
      const at = clock.now();
      await publish(proxy, topic, 2);
      clock.advance(5_000);
      await publish(proxy, topic, 3);
      const from = new Date(at).toISOString();
      expect(received(await poll(proxy, token, { topics: topic, from }))).to.deep.equal([2, 3]);
      const zoned = new Date(at + 2 * 3_600_000).toISOString().replace('Z', '+02:00');
      expect(
        received(await poll(proxy, token, { topics: topic, from: zoned, client_id: 'z' })),
      ).to.deep.equal([2, 3]);
    });

    it('begins where it was, wherever it is asked to begin, once it is there', async () => {
      await publish(proxy, topic, 1);
      await poll(proxy, token, { topics: topic, from: 'latest' });
      expect(received(await poll(proxy, token, { topics: topic, from: 'earliest' }))).to.deep.equal([]);
    });
  });

  describe('at least once', () => {
    it('gives again, as the second attempt, what was not acknowledged in time', async () => {
      await poll(proxy, token, { topics: topic });
      await publish(proxy, topic, 'again');
      const first = await poll(proxy, token, { topics: topic });
      expect(first.body.messages[0]!.attempt).to.equal(1);
      clock.advance(ACK_TIMEOUT_MS - 1);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal([]);
      clock.advance(1);
      const second = await poll(proxy, token, { topics: topic });
      expect(second.body.messages).to.deep.equal([{ ...first.body.messages[0], attempt: 2 }]);
      clock.advance(ACK_TIMEOUT_MS);
      const third = await poll(proxy, token, { topics: topic });
      expect(third.body.messages[0]!.attempt).to.equal(3);
    });

    it('wakes a poll that waits when an acknowledgement is overdue', async () => {
      await poll(proxy, token, { topics: topic });
      await publish(proxy, topic, 'again');
      await poll(proxy, token, { topics: topic });
      const waiting = poll(proxy, token, { topics: topic, timeout: 60 });
      await pollsWaiting(1);
      clock.advance(ACK_TIMEOUT_MS);
      expect((await waiting).body.messages.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
        ['again', 2],
      ]);
    });

    it('takes the time for an acknowledgement from the poll, fractions of a second too', async () => {
      await poll(proxy, token, { topics: topic, ack_timeout: 0.5 });
      await publish(proxy, topic, 'soon');
      await poll(proxy, token, { topics: topic });
      clock.advance(499);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal([]);
      clock.advance(1);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal(['soon']);
    });

    it('does not give again what was acknowledged', async () => {
      await poll(proxy, token, { topics: topic });
      for (const payload of [1, 2, 3]) await publish(proxy, topic, payload);
      const { messages } = (await poll(proxy, token, { topics: topic })).body;
      await ack(proxy, token, [messages[1]!.message_id]);
      clock.advance(ACK_TIMEOUT_MS);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal([1, 3]);
    });

    it('gives again before it gives what is new', async () => {
      await poll(proxy, token, { topics: topic });
      await publish(proxy, topic, 'old');
      await poll(proxy, token, { topics: topic });
      clock.advance(ACK_TIMEOUT_MS);
      await publish(proxy, topic, 'new');
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal(['old', 'new']);
    });

    it('stops giving where too much is unacknowledged, and goes on after an acknowledgement', async () => {
      const limited = await startProxy({ clock, config: { delivery: { max_in_flight: 2 } } });
      try {
        await poll(limited, token, { topics: topic });
        for (const payload of [1, 2, 3]) await publish(limited, topic, payload);
        const first = await poll(limited, token, { topics: topic });
        expect(received(first)).to.deep.equal([1, 2]);
        expect(received(await poll(limited, token, { topics: topic }))).to.deep.equal([]);
        await ack(limited, token, [first.body.messages[0]!.message_id]);
        expect(received(await poll(limited, token, { topics: topic }))).to.deep.equal([3]);
      } finally {
        await limited.stop();
      }
    });

    it('gives back at once what a client that hung up was to receive', async () => {
      const leaving = new AbortController();
      const waiting = poll(proxy, token, { topics: topic, timeout: 60 }, { signal: leaving.signal }).catch(
        (error: unknown) => error,
      );
      await pollsWaiting(1);
      leaving.abort();
      expect(await waiting).to.be.instanceOf(Error);
      await pollsWaiting(0);
      await publish(proxy, topic, 'not lost');
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal(['not lost']);
    });
  });

  describe('at most once', () => {
    it('never gives a message twice', async () => {
      await poll(proxy, token, { topics: topic, delivery: 'at_most_once' });
      for (const payload of [1, 2]) await publish(proxy, topic, payload);
      expect(received(await poll(proxy, token, { topics: topic, max: 1 }))).to.deep.equal([1]);
      clock.advance(2 * ACK_TIMEOUT_MS);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal([2]);
      clock.advance(2 * ACK_TIMEOUT_MS);
      expect(received(await poll(proxy, token, { topics: topic }))).to.deep.equal([]);
    });

    it('takes an acknowledgement that nobody needs', async () => {
      await poll(proxy, token, { topics: topic, delivery: 'at_most_once' });
      const id = await publish(proxy, topic, 1);
      await poll(proxy, token, { topics: topic });
      expect((await ack(proxy, token, [id])).body).to.deep.equal({
        acknowledged: 1,
        already_acknowledged: [id],
        trimmed: [],
        unknown: [],
      });
    });
  });

  describe('whose subscription it is', () => {
    it('refuses another guarantee than the subscription has, with 409', async () => {
      await poll(proxy, token, { topics: topic, delivery: 'at_most_once' });
      const answer = await poll(proxy, token, { topics: topic, delivery: 'at_least_once' });
      expect(answer.status).to.equal(409);
      expect(answer.body).to.include({ code: 'guarantee_mismatch', field: 'delivery', temporary: false });
      const other = await poll(proxy, token, {
        topics: topic,
        delivery: 'at_least_once',
        client_id: 'other',
      });
      expect(other.status).to.equal(200);
    });

    it('gives everything to each of two client_ids', async () => {
      for (const client_id of ['a', 'b']) await poll(proxy, token, { topics: topic, client_id });
      for (const payload of [1, 2]) await publish(proxy, topic, payload);
      expect(await pollAndAck({ topics: topic, client_id: 'a' })).to.deep.equal([1, 2]);
      expect(await pollAndAck({ topics: topic, client_id: 'b' })).to.deep.equal([1, 2]);
      clock.advance(ACK_TIMEOUT_MS);
      expect(await pollAndAck({ topics: topic, client_id: 'a' })).to.deep.equal([]);
    });

    it('gives everything to each of two users with the same client_id', async () => {
      const other = await proxy.token(`${topic}-other`);
      for (const each of [token, other]) await poll(proxy, each, { topics: topic, client_id: 'phone' });
      const id = await publish(proxy, topic, 1);
      const mine = await poll(proxy, token, { topics: topic, client_id: 'phone' });
      await ack(proxy, token, [id], 'phone');
      const theirs = await poll(proxy, other, { topics: topic, client_id: 'phone' });
      expect([received(mine), received(theirs)]).to.deep.equal([[1], [1]]);
    });

    it('gives each message to one of two polls that wait for the same subscription', async () => {
      const first = poll(proxy, token, { topics: topic, timeout: 60 });
      await pollsWaiting(1);
      const second = poll(proxy, token, { topics: topic, timeout: 60 });
      await pollsWaiting(2);
      await publish(proxy, topic, 1);
      const one = await Promise.race([first, second]);
      expect(received(one)).to.deep.equal([1]);
      await publish(proxy, topic, 2);
      const both = await Promise.all([first, second]);
      expect(both.flatMap(received)).to.have.members([1, 2]);
    });
  });
});

describe('the limit of connections', () => {
  it('answers a poll too many with 503 and Retry-After, and takes one again when one is over', async () => {
    const proxy = await startProxy({ config: { limits: { max_connections_per_instance: 1 } } });
    try {
      const token = await proxy.token();
      const waiting = poll(proxy, token, { topics: 't', timeout: 60 });
      await eventually(async () =>
        expect(await metric(proxy, 'proxy_connections_total{type="long_poll"}')).to.equal(1),
      );
      const refused = await poll(proxy, token, { topics: 't', client_id: 'b' });
      expect(refused.status).to.equal(503);
      expect(refused.headers.get('retry-after')).to.equal('1');
      expect(refused.body).to.include({ code: 'too_many_connections', temporary: true });
      // Publishing is no connection that stays.
      await publish(proxy, 't', 1);
      await waiting;
      expect((await poll(proxy, token, { topics: 't', client_id: 'b' })).status).to.equal(200);
    } finally {
      await proxy.stop();
    }
  });
});
