import { expect } from 'chai';
import { bulk, freshTopic, payloads, poll, WsClient } from '../support/client.js';
import { startProxy, type Proxy } from '../support/proxy.js';

describe('messages that are gone before a client has got them', () => {
  let proxy: Proxy;
  let token: string;
  let topic: string;

  before(async () => {
    proxy = await startProxy({ config: { storage: { max_messages_per_topic: 10 } } });
    token = await proxy.token();
  });
  after(() => proxy.stop());
  beforeEach(() => (topic = freshTopic()));

  const OFFSET_PATTERN = /^\d+-\d+$/;

  /** Publishes numbers; answers where each stands. */
  const publishNumbers = async (count: number): Promise<readonly string[]> => {
    const { body } = await bulk(
      proxy,
      Array.from({ length: count }, (_, payload) => ({ topic, payload })),
    );
    return body.results.map(({ message_id }) => message_id.slice(topic.length + 1));
  };

  it('are told to a poll as a gap, up to right before the first message that is left', async () => {
    await poll(proxy, token, { topics: topic });
    const offsets = await publishNumbers(1000);
    const { body } = await poll(proxy, token, { topics: topic, max: 1000 });
    const [first] = payloads(body.messages) as readonly number[];
    expect(body.gaps).to.have.length(1);
    const [gap] = body.gaps;
    expect(gap).to.deep.include({ topic, reason: 'retention' });
    expect(gap!.from).to.match(OFFSET_PATTERN);
    expect(gap!.to).to.match(OFFSET_PATTERN);
    expect(first).to.be.within(1, 990);
    const [ms, sequence] = offsets[first!]!.split('-').map(Number);
    expect(gap!.to).to.equal(sequence === 0 ? `${ms! - 1}-1023` : `${ms}-${sequence! - 1}`);
    expect(payloads(body.messages)).to.deep.equal(
      Array.from({ length: 1000 - first! }, (_, i) => first! + i),
    );
  });

  it('are told to a WebSocket as a gap frame, in front of the messages that are left', async () => {
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe([topic], { client_id: topic });
    await client.close();
    await publishNumbers(1000);
    const back = await WsClient.connect(proxy, { token });
    await back.subscribe([topic], { client_id: topic });
    const gap = await back.next('gap');
    expect(gap).to.include({ topic, reason: 'retention' });
    expect(gap.to).to.match(OFFSET_PATTERN);
    await back.next('message');
    await back.sync();
    expect(back.frames.map(({ type }) => type).slice(0, 3)).to.deep.equal(['subscribed', 'gap', 'message']);
    expect(payloads(back.messages).at(-1)).to.equal(999);
    await back.close();
  });

  it('are no gap where nothing is gone', async () => {
    await poll(proxy, token, { topics: topic });
    await publishNumbers(5);
    const { body } = await poll(proxy, token, { topics: topic });
    expect(body).not.to.have.property('gaps');
    expect(payloads(body.messages)).to.deep.equal([0, 1, 2, 3, 4]);
  });
});
