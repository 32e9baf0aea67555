import { expect } from 'chai';
import { freshTopic, payloads, publish, request, WsClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { PUBLISH_KEY, startProxy, type Proxy } from '../../support/proxy.js';

const MANAGER_KEY = 'test-manager-key-0123456789';
const ACK_TIMEOUT_MS = 30_000;
const BACKOFF_MS = 5_000;
const MAX_DELIVERIES = 3;

describe('what a WebSocket client says of messages', () => {
  let clock: ManualClock;
  let proxy: Proxy;
  let client: WsClient;
  let topic: string;

  before(async () => {
    clock = new ManualClock(Date.now());
    proxy = await startProxy({
      clock,
      config: {
        auth: {
          api_keys: [
            { name: 'publisher', key: PUBLISH_KEY },
            { name: 'manager', key: MANAGER_KEY, manage: ['>'] },
          ],
        },
        delivery: { ack_timeout: '30s', redelivery_backoff: ['5s'], max_deliveries: MAX_DELIVERIES },
      },
    });
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    topic = freshTopic();
    client = await WsClient.connect(proxy, { token: await proxy.token(topic) });
    await client.subscribe([topic], { client_id: 'phone' });
  });
  afterEach(() => client.terminate());

  const delivered = async (...texts: readonly unknown[]): Promise<readonly string[]> => {
    const ids: string[] = [];
    for (const text of texts) ids.push(await publish(proxy, topic, text));
    await client.nextMessages(texts.length);
    return ids;
  };

  /** Every delivery so far: payload and attempt. */
  const deliveries = (): readonly (readonly [unknown, number | undefined])[] =>
    client.messages.map(({ payload, attempt }) => [payload, attempt]);

  /** Lets `ms` pass, a tick at a time, with time for what each tick sets in motion. */
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 1_000) {
      clock.advance(Math.min(1_000, ms - passed));
      await client.sync();
    }
  };

  const deadLetters = async (): Promise<readonly (readonly [unknown, string | undefined])[]> => {
    const { body } = await request(proxy, 'GET', `/api/v1/topics/${topic}/dead-letters`, {
      token: MANAGER_KEY,
    });
    return body.messages.map(({ payload, headers }) => [payload, headers?.['dead-letter-reason']]);
  };

  it('ack up to an id acknowledges what came before it, and nothing behind it', async () => {
    const ids = await delivered(1, 2, 3, 4);
    const answer = await client.request({ type: 'ack', up_to: ids[2] });
    expect(answer).to.include({ type: 'acked', acknowledged: 3 });
    await pass(ACK_TIMEOUT_MS + 2 * BACKOFF_MS);
    await eventually(() => expect(deliveries().slice(4)).to.deep.equal([[4, 2]]));
  });

  it('nack has a message come again after its delay, and those behind it do not wait', async () => {
    const [id] = await delivered('late');
    expect(await client.nack([id!], 10)).to.include({ type: 'nacked', nacked: 1 });
    await delivered('behind');
    await pass(9_000);
    expect(deliveries()).to.deep.equal([
      ['late', undefined],
      ['behind', undefined],
    ]);
    await pass(2_000);
    await eventually(() => expect(deliveries().slice(2)).to.deep.equal([['late', 2]]));
  });

  it('nack without an id is not answered, and takes effect', async () => {
    const [id] = await delivered('again');
    client.send({ type: 'nack', message_id: id, delay: 0 });
    await client.sync();
    await pass(1_000);
    await eventually(() => expect(deliveries().slice(1)).to.deep.equal([['again', 2]]));
    const types = new Set(client.frames.map(({ type }) => type));
    expect([...types]).to.have.members(['subscribed', 'message', 'pong']);
  });

  it('extend has the time for an acknowledgement start anew', async () => {
    const [id] = await delivered('slow');
    for (let i = 0; i < 3; i++) {
      await pass(ACK_TIMEOUT_MS - 1_000);
      expect(await client.extend(id!)).to.include({ type: 'extended', extended: 1 });
    }
    expect(deliveries()).to.have.length(1);
    await pass(ACK_TIMEOUT_MS + 2 * BACKOFF_MS);
    await eventually(() => expect(deliveries().slice(1)).to.deep.equal([['slow', 2]]));
  });

  it('terminate gives a message up at once, for the dead letters', async () => {
    const [id] = await delivered('hopeless');
    expect(await client.giveUp(id!)).to.include({ type: 'terminated', terminated: 1 });
    expect(await deadLetters()).to.deep.equal([['hopeless', 'terminated']]);
    await pass(2 * ACK_TIMEOUT_MS);
    expect(deliveries()).to.have.length(1);
    expect((await client.giveUp(id!)).already_acknowledged).to.deep.equal([id]);
  });

  it('saying nothing leads to the dead letters too, after so many deliveries', async () => {
    await delivered('poison');
    for (let i = 0; i < MAX_DELIVERIES; i++) await pass(ACK_TIMEOUT_MS + 2 * BACKOFF_MS);
    await eventually(async () => expect(await deadLetters()).to.deep.equal([['poison', 'max_deliveries']]));
    expect(deliveries()).to.deep.equal([
      ['poison', undefined],
      ['poison', 2],
      ['poison', 3],
    ]);
    await publish(proxy, topic, 'next');
    await eventually(() => expect(payloads(client.messages).at(-1)).to.equal('next'));
  });

  it('is said once: again it has no effect, and names what was settled', async () => {
    const [id] = await delivered('done');
    await client.ack(id!);
    const before = { already_acknowledged: [id] };
    expect(await client.nack([id!], 0)).to.deep.include({ nacked: 0, ...before });
    expect(await client.extend(id!)).to.deep.include({ extended: 0, ...before });
    expect(await client.giveUp(id!)).to.deep.include({ terminated: 0, ...before });
    await client.sync();
    expect(deliveries()).to.have.length(1);
    expect(await deadLetters()).to.deep.equal([]);
  });
});
