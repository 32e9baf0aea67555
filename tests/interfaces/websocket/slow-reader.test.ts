import { expect } from 'chai';
import { SLOW_GRACE_MS } from '../../../interfaces/websocket/ws-connection.js';
import { freshTopic, metric, payloads, publish, WsClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { startProxy, type Proxy } from '../../support/proxy.js';
import { RawReader } from './raw-reader.js';

const WRITE_TIMEOUT_MS = 10_000;
/** How much later it may be noticed. */
const LOOK_MS = WRITE_TIMEOUT_MS / 10;
/** Together more than the buffers of two kernels and of the proxy hold. */
const MESSAGES = 200;
const PAYLOAD = 'x'.repeat(100_000);

describe('a client that does not read', () => {
  let clock: ManualClock;
  let proxy: Proxy;
  let token: string;
  let topic: string;
  let slow: WsClient;

  before(async () => {
    clock = new ManualClock();
    proxy = await startProxy({
      clock,
      config: { server: { write_timeout: '10s' }, limits: { max_buffered_bytes_per_connection: '64KB' } },
    });
    token = await proxy.token();
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    topic = freshTopic();
    slow = await WsClient.connect(proxy, { token });
  });
  afterEach(() => slow.terminate());

  const publishLarge = async (): Promise<void> => {
    for (let i = 0; i < MESSAGES; i++) await publish(proxy, topic, [i, PAYLOAD]);
  };

  const all = Array.from({ length: MESSAGES }, (_, i) => i);
  const numbersOf = (client: WsClient): readonly unknown[] =>
    payloads(client.messages).map((payload) => (payload as readonly [number, string])[0]);

  it('does not stop the others, and gets everything in order once it reads again', async () => {
    const quick = await WsClient.connect(proxy, { token });
    await slow.subscribe([topic]);
    await quick.subscribe([topic]);
    slow.socket.pause();
    await publishLarge();
    await quick.nextMessages(MESSAGES);
    expect(numbersOf(quick)).to.deep.equal(all);
    expect(slow.messages.length).to.be.lessThan(MESSAGES);
    slow.socket.resume();
    await slow.nextMessages(MESSAGES);
    expect(numbersOf(slow)).to.deep.equal(all);
    await quick.close();
  });

  it('is told 4008 once it reads again, and finds the rest when it comes back', async () => {
    await slow.subscribe([topic], { client_id: 'slow' });
    slow.socket.pause();
    await publishLarge();
    clock.advance(WRITE_TIMEOUT_MS + LOOK_MS);
    slow.socket.resume();
    expect(await slow.closed).to.deep.equal({ code: 4008, reason: 'slow consumer' });
    const seen = slow.messages.length;
    expect(seen).to.be.lessThan(MESSAGES);
    const back = await WsClient.connect(proxy, { token });
    await back.subscribe([topic], { client_id: 'slow' });
    await back.nextMessages(MESSAGES);
    expect(numbersOf(back)).to.deep.equal(all);
    await back.close();
  });

  it('is cut off when it does not read on, and the others are none the worse for it', async () => {
    const quick = await WsClient.connect(proxy, { token });
    await quick.subscribe([topic]);
    const subscribe = { type: 'subscribe', topics: [topic], client_id: 'stuck' };
    const stuck = await RawReader.open(proxy, token, [subscribe], 'subscribed');
    await publishLarge();
    await quick.nextMessages(MESSAGES);
    clock.advance(WRITE_TIMEOUT_MS + LOOK_MS);
    clock.advance(SLOW_GRACE_MS);
    const connections = 'proxy_connections_total{type="websocket"}';
    await eventually(async () => expect(await metric(proxy, connections)).to.equal(2));
    expect(await stuck.readToEnd()).to.equal(undefined);
    await publish(proxy, topic, [MESSAGES, '']);
    await quick.next('message');
    expect(numbersOf(quick)).to.deep.equal([...all, MESSAGES]);
    await quick.close();
  });

  it('is told 4008 behind what there was, as it finds out on the wire', async () => {
    const subscribe = { type: 'subscribe', topics: [topic], client_id: 'raw' };
    const raw = await RawReader.open(proxy, token, [subscribe], 'subscribed');
    await publishLarge();
    clock.advance(WRITE_TIMEOUT_MS + LOOK_MS);
    expect(await raw.readToEnd()).to.equal(4008);
  });

  it('is not cut off where it has read everything in time', async () => {
    await slow.subscribe([topic]);
    slow.socket.pause();
    await publishLarge();
    clock.advance(WRITE_TIMEOUT_MS - 1);
    slow.socket.resume();
    await slow.nextMessages(MESSAGES);
    clock.advance(WRITE_TIMEOUT_MS);
    await slow.sync();
  });

  it('is not read from while it does not read our answers, and answered when it does', async () => {
    const pings = 20_000;
    slow.socket.pause();
    for (let i = 0; i < pings; i++) slow.send({ type: 'ping', id: `${'x'.repeat(100)}${i}` });
    slow.socket.resume();
    await eventually(() => expect(slow.frames).to.have.length(pings), 10_000);
    expect(slow.frames.at(-1)!.id).to.equal(`${'x'.repeat(100)}${pings - 1}`);
  });

  it('may be as slow as it likes where there is no write timeout', async () => {
    const patient = await startProxy({
      config: { server: { write_timeout: 0 }, limits: { max_buffered_bytes_per_connection: '64KB' } },
    });
    try {
      const client = await WsClient.connect(patient, { token });
      await client.subscribe([topic]);
      client.socket.pause();
      for (let i = 0; i < MESSAGES; i++) await publish(patient, topic, [i, PAYLOAD]);
      client.socket.resume();
      await client.nextMessages(MESSAGES);
      expect(numbersOf(client)).to.deep.equal(all);
      await client.close();
    } finally {
      await patient.stop();
    }
  });
});
