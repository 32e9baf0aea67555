import { expect } from 'chai';
import { ack, bulk, freshTopic, poll, publish, request, type Answer } from '../../support/client.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

describe('POST /api/v1/ack', () => {
  let proxy: Proxy;
  let token: string;
  let topic: string;

  before(async () => {
    proxy = await startProxy();
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    topic = freshTopic();
    token = await proxy.token(topic);
  });

  const asked = (body: unknown): Promise<Answer> => request(proxy, 'POST', '/api/v1/ack', { token, body });

  const publishNumbers = async (count: number): Promise<readonly string[]> => {
    const ids: string[] = [];
    for (let i = 0; i < count; i++) ids.push(await publish(proxy, topic, i));
    return ids;
  };

  it('says how many are acknowledged, and the second time that they were', async () => {
    await poll(proxy, token, { topics: topic });
    const ids = [await publish(proxy, topic, 1), await publish(proxy, topic, 2)];
    await poll(proxy, token, { topics: topic });
    for (const already_acknowledged of [[], ids]) {
      const answer = await ack(proxy, token, ids);
      expect(answer.status).to.equal(200);
      expect(answer.body).to.deep.equal({ acknowledged: 2, already_acknowledged, trimmed: [], unknown: [] });
    }
  });

  it('acknowledges everything up to an id, and nothing behind it', async () => {
    await poll(proxy, token, { topics: topic });
    const ids = await publishNumbers(4);
    await poll(proxy, token, { topics: topic });
    const upTo = (id: string): Promise<Answer> => asked({ up_to: id });
    expect((await upTo(ids[2]!)).body).to.deep.equal({
      acknowledged: 3,
      already_acknowledged: [],
      trimmed: [],
      unknown: [],
    });
    expect((await upTo(ids[2]!)).body)
      .to.include({ acknowledged: 1 })
      .and.deep.include({
        already_acknowledged: [ids[2]],
      });
    expect((await ack(proxy, token, ids)).body.already_acknowledged).to.deep.equal(ids.slice(0, 3));
  });

  it('names what was acknowledged and is trimmed since', async () => {
    const small = await startProxy({ config: { storage: { max_messages_per_topic: 10 } } });
    try {
      await poll(small, token, { topics: topic });
      const id = await publish(small, topic, 'first');
      await poll(small, token, { topics: topic });
      await ack(small, token, [id]);
      await bulk(
        small,
        Array.from({ length: 1000 }, (_, payload) => ({ topic, payload })),
      );
      const { body } = await ack(small, token, [id]);
      expect(body).to.deep.equal({ acknowledged: 0, already_acknowledged: [], trimmed: [id], unknown: [] });
    } finally {
      await small.stop();
    }
  });

  it('names the ids that were never delivered, and acknowledges the others', async () => {
    await poll(proxy, token, { topics: topic });
    const id = await publish(proxy, topic, 1);
    await poll(proxy, token, { topics: topic });
    const unread = await publish(proxy, topic, 2);
    const foreign = `${topic}-other:1735689600000-0`;
    const answer = await ack(proxy, token, [unread, id, foreign]);
    expect(answer.body.acknowledged).to.equal(1);
    expect(answer.body.unknown).to.have.members([unread, foreign]);
  });

  it('answers for a subscription that nobody has opened', async () => {
    const id = await publish(proxy, topic, 1);
    const { body } = await ack(proxy, token, [id], 'nobody');
    expect(body)
      .to.include({ acknowledged: 0 })
      .and.deep.include({ unknown: [id] });
  });

  it('acknowledges for the client_id that it names and for no other', async () => {
    await poll(proxy, token, { topics: topic, client_id: 'a' });
    const id = await publish(proxy, topic, 1);
    await poll(proxy, token, { topics: topic, client_id: 'a' });
    expect((await ack(proxy, token, [id])).body.unknown).to.deep.equal([id]);
    expect((await ack(proxy, token, [id], 'a')).body.acknowledged).to.equal(1);
  });

  it('refuses ids that are none, naming which', async () => {
    const good = `${topic}:1735689600000-0`;
    for (const bad of ['', 'x', 'a:b', `${topic}:1`, `${topic}:1-1024`, `a b:1-0`, 7, null]) {
      const answer = await asked({ message_ids: [good, bad] });
      expect(answer.status, String(bad)).to.equal(400);
      expect(answer.body, String(bad)).to.include({ code: 'invalid_request', field: 'message_ids[1]' });
    }
  });

  it('refuses a body that names ids in two ways', async () => {
    const id = `${topic}:1735689600000-0`;
    const answer = await asked({ message_ids: [id], up_to: id });
    expect(answer.status).to.equal(400);
    expect(answer.body).to.include({ code: 'invalid_request', field: 'up_to' });
  });

  it('refuses a body without a list of at most a thousand ids', async () => {
    const id = `${topic}:1735689600000-0`;
    for (const body of [
      {},
      { message_ids: id },
      { message_ids: [] },
      { message_ids: Array(1001).fill(id) },
    ]) {
      const answer = await asked(body);
      expect(answer.status).to.equal(400);
      expect(answer.body).to.include({ code: 'invalid_request', field: 'message_ids' });
    }
    const answer = await asked({ message_ids: [id], client_id: 'a b' });
    expect(answer.body).to.include({ code: 'invalid_request', field: 'client_id' });
  });
});
