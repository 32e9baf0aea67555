import { expect } from 'chai';
import { ack, freshTopic, poll, publish, request, type Answer } from '../../support/client.js';
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

  it('says how many are acknowledged, and says the same again', async () => {
    await poll(proxy, token, { topics: topic });
    const ids = [await publish(proxy, topic, 1), await publish(proxy, topic, 2)];
    await poll(proxy, token, { topics: topic });
    for (let i = 0; i < 2; i++) {
      const answer = await ack(proxy, token, ids);
      expect(answer.status).to.equal(200);
      expect(answer.body).to.deep.equal({ acknowledged: 2, unknown: [] });
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
    expect((await ack(proxy, token, [id], 'nobody')).body).to.deep.equal({ acknowledged: 0, unknown: [id] });
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
