import { expect } from 'chai';
import { ack, extend, freshTopic, nack, poll, publish, request, terminate } from '../../support/client.js';
import { ManualClock } from '../../support/manual-clock.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

const ACK_TIMEOUT_MS = 30_000;

describe('POST /api/v1/nack, /extend and /terminate', () => {
  let clock: ManualClock;
  let proxy: Proxy;
  let token: string;
  let topic: string;

  before(async () => {
    clock = new ManualClock(Date.now());
    proxy = await startProxy({
      clock,
      config: { delivery: { ack_timeout: '30s', redelivery_backoff: ['5s'] } },
    });
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    topic = freshTopic();
    token = await proxy.token(topic);
  });

  /** The payloads and attempts that a poll is given now. */
  const polled = async (): Promise<readonly (readonly [unknown, number | undefined])[]> => {
    const { body } = await poll(proxy, token, { topics: topic });
    return body.messages.map(({ payload, attempt }) => [payload, attempt]);
  };

  /** Publishes and delivers one message. */
  const delivered = async (): Promise<string> => {
    await poll(proxy, token, { topics: topic });
    const id = await publish(proxy, topic, 'it');
    expect(await polled()).to.deep.equal([['it', 1]]);
    return id;
  };

  const lists = { already_acknowledged: [], trimmed: [], unknown: [] };

  it('nack has a message delivered again at once, with the next attempt', async () => {
    const id = await delivered();
    const answer = await nack(proxy, token, [id], { delay: 0 });
    expect([answer.status, answer.body]).to.deep.equal([200, { nacked: 1, ...lists }]);
    expect(await polled()).to.deep.equal([['it', 2]]);
  });

  it('nack has a message wait as long as it says', async () => {
    const id = await delivered();
    await nack(proxy, token, [id], { delay: 10 });
    clock.advance(9_999);
    expect(await polled()).to.deep.equal([]);
    clock.advance(1);
    expect(await polled()).to.deep.equal([['it', 2]]);
  });

  it('nack without a delay leaves the wait to the configuration, which jitters it', async () => {
    const id = await delivered();
    await nack(proxy, token, [id]);
    expect(await polled()).to.deep.equal([]);
    clock.advance(2 * 5_000);
    expect(await polled()).to.deep.equal([['it', 2]]);
  });

  it('extend has the time for an acknowledgement start anew', async () => {
    const id = await delivered();
    for (let i = 0; i < 3; i++) {
      clock.advance(ACK_TIMEOUT_MS - 1);
      const answer = await extend(proxy, token, [id]);
      expect([answer.status, answer.body]).to.deep.equal([200, { extended: 1, ...lists }]);
      expect(await polled()).to.deep.equal([]);
    }
    clock.advance(ACK_TIMEOUT_MS);
    await polled();
    clock.advance(2 * 5_000);
    expect(await polled()).to.deep.equal([['it', 2]]);
  });

  it('terminate has a message never delivered again', async () => {
    const id = await delivered();
    const answer = await terminate(proxy, token, [id]);
    expect([answer.status, answer.body]).to.deep.equal([200, { terminated: 1, ...lists }]);
    clock.advance(10 * ACK_TIMEOUT_MS);
    expect(await polled()).to.deep.equal([]);
  });

  it('take effect once, and say what was settled before', async () => {
    const id = await delivered();
    await ack(proxy, token, [id]);
    const before = { ...lists, already_acknowledged: [id] };
    expect((await nack(proxy, token, [id], { delay: 0 })).body).to.deep.equal({ nacked: 0, ...before });
    expect((await extend(proxy, token, [id])).body).to.deep.equal({ extended: 0, ...before });
    expect((await terminate(proxy, token, [id])).body).to.deep.equal({ terminated: 0, ...before });
    expect(await polled()).to.deep.equal([]);
  });

  it('name the ids that were never delivered to this client_id, and touch nobody else', async () => {
    const id = await delivered();
    const stranger = await proxy.token(`${topic}-stranger`);
    for (const settle of [nack, extend, terminate]) {
      for (const [who, options] of [
        [token, { clientId: 'other' }],
        [stranger, {}],
      ] as const) {
        const { status, body } = await settle(proxy, who, [id], options);
        expect(status).to.equal(200);
        expect(body.unknown).to.deep.equal([id]);
      }
    }
    expect(await polled()).to.deep.equal([]);
    expect((await ack(proxy, token, [id])).body).to.deep.equal({ acknowledged: 1, ...lists });
  });

  it('refuse a body that says nothing of ids, and a delay that is none', async () => {
    for (const verb of ['nack', 'extend', 'terminate']) {
      const answer = await request(proxy, 'POST', `/api/v1/${verb}`, { token, body: {} });
      expect(answer.status, verb).to.equal(400);
      expect(answer.body, verb).to.include({ code: 'invalid_request', field: 'message_ids' });
    }
    const answer = await nack(proxy, token, [`${topic}:1735689600000-0`], { delay: -1 });
    expect(answer.body).to.include({ code: 'invalid_request', field: 'delay' });
  });

  it('need a token', async () => {
    for (const verb of ['nack', 'extend', 'terminate']) {
      const body = { message_ids: [`${topic}:1735689600000-0`] };
      expect((await request(proxy, 'POST', `/api/v1/${verb}`, { body })).status, verb).to.equal(401);
    }
  });
});
