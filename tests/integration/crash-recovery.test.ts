/** A proxy that dies takes nothing with it: what it has answered 201 is stored, what nobody acknowledged comes again. */
import { expect } from 'chai';
import { payloads, poll, post, publish, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import type { Proxy, ProxyProcess } from '../support/proxy.js';
import { startProxy } from '../support/proxy.js';
import { randomKeyPrefix, sharedValkey } from '../support/shared-valkey.js';
import { ackAll, idsOf, isReady, pollUntil, spawnReady } from './fleet.js';

describe('a proxy that is killed', () => {
  let doomed: ProxyProcess;
  let survivor: Proxy;
  let token: string;

  beforeEach(async () => {
    const { port } = await sharedValkey();
    const options = { driver: 'valkey', valkey: { port, keyPrefix: randomKeyPrefix() } } as const;
    [doomed, survivor] = await Promise.all([spawnReady(options), startProxy(options)]);
    await isReady(survivor);
    token = await survivor.token();
  });
  afterEach(async () => {
    doomed.kill('SIGKILL');
    await Promise.all([doomed.exited, survivor.stop()]);
  });

  const die = async (): Promise<void> => {
    doomed.kill('SIGKILL');
    await doomed.exited;
  };

  it('loses nothing that it has answered 201, in the middle of many publishes', async () => {
    await poll(survivor, token, { topics: 'orders', client_id: 'phone' });
    const stored: string[] = [];
    let isDead = false;
    const publisher = async (): Promise<void> => {
      while (!isDead) {
        const answer = await post(doomed, { topic: 'orders', payload: { size: 'x'.repeat(500) } }).catch(
          () => undefined,
        );
        if (answer?.status === 201) stored.push(answer.body.message_id);
      }
    };
    const publishers = Array.from({ length: 20 }, publisher);
    await eventually(() => expect(stored.length).to.be.above(300));
    await die();
    isDead = true;
    await Promise.all(publishers);
    const came = await pollUntil([survivor], token, { topics: 'orders', client_id: 'phone' }, stored.length);
    expect(idsOf(came)).to.include.members(stored);
    expect(new Set(idsOf(came)).size).to.equal(came.length);
  });

  it('loses no position: a WebSocket client goes on at the other proxy where it was', async () => {
    const client = await WsClient.connect(doomed, { token });
    await client.subscribe(['orders'], { client_id: 'phone' });
    for (let i = 1; i <= 6; i++) await publish(survivor, 'orders', i);
    const received = await client.nextMessages(6);
    await ackAll(doomed, token, received.slice(0, 4), 'phone');
    await die();
    await client.closed;
    await publish(survivor, 'orders', 7);

    const again = await WsClient.connect(survivor, { token });
    await again.subscribe(['orders'], { client_id: 'phone' });
    expect(payloads(await again.nextMessages(3))).to.deep.equal([5, 6, 7]);
    await publish(survivor, 'orders', 8);
    expect((await again.next('message')).payload).to.equal(8);
  });

  it('leaves what a poll was given to its deadline, and then it comes again at the other proxy', async () => {
    const parameters = { topics: 'orders', client_id: 'phone', ack_timeout: 1 };
    await poll(doomed, token, parameters);
    for (let i = 1; i <= 4; i++) await publish(doomed, 'orders', i);
    const given = await pollUntil([doomed], token, parameters, 4);
    await ackAll(doomed, token, given.slice(0, 2), 'phone');
    await die();
    const again = await pollUntil([survivor], token, parameters, 2);
    expect(again.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
      [3, 2],
      [4, 2],
    ]);
  });

  it('frees its polls: whoever waited there asks the other proxy and gets what is published', async () => {
    await poll(doomed, token, { topics: 'orders', client_id: 'phone' });
    const waiting = poll(doomed, token, { topics: 'orders', client_id: 'phone', timeout: 30 }).catch(
      () => 'cut',
    );
    await publish(survivor, 'other', 0);
    await die();
    expect(await waiting).to.equal('cut');
    await publish(survivor, 'orders', 1);
    expect(
      payloads(await pollUntil([survivor], token, { topics: 'orders', client_id: 'phone' }, 1)),
    ).to.deep.equal([1]);
  });
});
