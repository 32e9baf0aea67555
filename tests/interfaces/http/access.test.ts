import { expect } from 'chai';
import { SignJWT, UnsecuredJWT } from 'jose';
import { ack, bulk, poll, post, publish, request, type Answer } from '../../support/client.js';
import { JWT_SECRET, signToken, startProxy, type Proxy } from '../../support/proxy.js';

const NARROW_KEY = 'narrow-key-0123456789';

describe('who may do what over HTTP', () => {
  let proxy: Proxy;

  before(async () => {
    proxy = await startProxy({
      config: {
        auth: {
          api_keys: [
            { name: 'publisher', key: 'test-publish-key-0123456789' },
            { name: 'narrow', key: NARROW_KEY, publish: ['orders.*'], subscribe: ['orders.>'] },
          ],
        },
      },
    });
  });
  after(() => proxy.stop());

  const expectUnauthorized = (answer: Answer, what?: string): void => {
    expect(answer.status, what).to.equal(401);
    expect(answer.headers.get('www-authenticate'), what).to.equal('Bearer');
    expect(answer.headers.get('content-type')).to.match(/^application\/problem\+json/);
    expect(answer.body).to.include({ code: 'unauthorized', status: 401, temporary: false });
  };

  const expectForbidden = (answer: Answer): void => {
    expect(answer.status).to.equal(403);
    expect(answer.body).to.include({ code: 'forbidden', status: 403, temporary: false });
  };

  describe('without a valid token', () => {
    it('answers 401 with WWW-Authenticate at every address of the API', async () => {
      const message = { topic: 't', payload: 1 };
      expectUnauthorized(await request(proxy, 'POST', '/api/v1/messages', { body: message }));
      expectUnauthorized(
        await request(proxy, 'POST', '/api/v1/messages/bulk', { body: { messages: [message] } }),
      );
      expectUnauthorized(await request(proxy, 'GET', '/api/v1/poll?topics=t&timeout=0'));
      expectUnauthorized(await request(proxy, 'POST', '/api/v1/ack', { body: { message_ids: [] } }));
    });

    it('looks at the token before it looks at the body', async () => {
      expectUnauthorized(
        await request(proxy, 'POST', '/api/v1/messages', { token: 'nobody', body: 'not JSON' }),
      );
    });

    it('answers every wrong token alike', async () => {
      const now = Math.floor(Date.now() / 1000);
      const wrong = {
        'an unknown key': 'test-publish-key-0123456788',
        'a signature by somebody else': await signToken('alice', {}, 'another-secret-that-has-32-bytes!'),
        'an expired token': await signToken('alice', { exp: now - 60 }),
        'a token that never expires': await new SignJWT({ sub: 'a' })
          .setProtectedHeader({ alg: 'HS256' })
          .sign(Buffer.from(JWT_SECRET)),
        'a token without a subject': await new SignJWT({ exp: now + 60 })
          .setProtectedHeader({ alg: 'HS256' })
          .sign(Buffer.from(JWT_SECRET)),
        'another algorithm': await new SignJWT({ sub: 'a', exp: now + 60 })
          .setProtectedHeader({ alg: 'HS512' })
          .sign(Buffer.from(JWT_SECRET.repeat(2))),
        'no signature at all': new UnsecuredJWT({})
          .setSubject('a')
          .setExpirationTime(now + 60)
          .encode(),
        'a topics claim that is no claim': await signToken('alice', { topics: ['t'] }),
        'something very long': 'x'.repeat(10_000),
      };
      const texts = new Set<string>();
      for (const [what, token] of Object.entries(wrong)) {
        const answer = await poll(proxy, token, { topics: 't' });
        expectUnauthorized(answer, what);
        texts.add(answer.text);
      }
      expect(texts.size).to.equal(1);
    });

    it('takes no other scheme than Bearer', async () => {
      const basic = Buffer.from(`user:${proxy.publishKey}`).toString('base64');
      for (const authorization of [
        `Basic ${basic}`,
        proxy.publishKey,
        `Token ${proxy.publishKey}`,
        'Bearer',
        'Bearer ',
      ])
        expectUnauthorized(
          await request(proxy, 'GET', '/api/v1/poll?topics=t', { headers: { authorization } }),
        );
    });
  });

  describe('an API key', () => {
    it('may publish everywhere and nothing else where it has no patterns', async () => {
      await publish(proxy, 'anything.at.all', 1);
      expectForbidden(await poll(proxy, proxy.publishKey, { topics: 'anything.at.all' }));
      expectForbidden(await poll(proxy, proxy.publishKey, { topics: '>' }));
    });

    it('may publish where a pattern of its grants matches', async () => {
      expect((await post(proxy, { topic: 'orders.new', payload: 1 }, { token: NARROW_KEY })).status).to.equal(
        201,
      );
      expectForbidden(await post(proxy, { topic: 'orders.new.eu', payload: 1 }, { token: NARROW_KEY }));
      expectForbidden(await post(proxy, { topic: 'orders', payload: 1 }, { token: NARROW_KEY }));
      expectForbidden(await post(proxy, { topic: 'invoices.new', payload: 1 }, { token: NARROW_KEY }));
    });

    it('may subscribe where a pattern of its grants matches', async () => {
      expect((await poll(proxy, NARROW_KEY, { topics: 'orders.new.eu' })).status).to.equal(200);
      expectForbidden(await poll(proxy, NARROW_KEY, { topics: 'orders.new,invoices.new' }));
    });

    it('may be sent as ?token=', async () => {
      const answer = await request(proxy, 'POST', `/api/v1/messages?token=${proxy.publishKey}`, {
        body: { topic: 't', payload: 1 },
      });
      expect(answer.status).to.equal(201);
    });
  });

  describe('a token of a user', () => {
    it('may subscribe everywhere and nothing else where it has no claim', async () => {
      const token = await proxy.token();
      expect((await poll(proxy, token, { topics: '>' })).status).to.equal(200);
      expectForbidden(await post(proxy, { topic: 't', payload: 1 }, { token }));
      const items = await bulk(proxy, [{ topic: 't', payload: 1 }], { token });
      expect(items.status).to.equal(207);
      expect(items.body.results[0]).to.include({ code: 'forbidden', status: 403 });
    });

    it('may do what its claim says', async () => {
      const token = await proxy.token('bob', { topics: { publish: ['chat.*'], subscribe: ['chat.room'] } });
      expect((await post(proxy, { topic: 'chat.room', payload: 1 }, { token })).status).to.equal(201);
      expectForbidden(await post(proxy, { topic: 'chat', payload: 1 }, { token }));
      expect((await poll(proxy, token, { topics: 'chat.room' })).status).to.equal(200);
      expectForbidden(await poll(proxy, token, { topics: 'chat.other' }));
    });

    it('may do nothing where its claim is empty', async () => {
      const token = await proxy.token('carol', { topics: {} });
      expectForbidden(await post(proxy, { topic: 't', payload: 1 }, { token }));
      expectForbidden(await poll(proxy, token, { topics: 't' }));
      expectForbidden(await poll(proxy, token, { topics: '*' }));
    });

    it('is given, of the topics that its pattern matches, those that its grants cover', async () => {
      const token = await proxy.token('dave', { topics: { subscribe: ['news.public.>'] } });
      for (const name of ['news.public.a', 'news.secret.b', 'news.public.c'])
        await publish(proxy, name, name);
      const { body } = await poll(proxy, token, { topics: 'news.>', from: 'earliest' });
      expect(body.messages.map(({ topic }) => topic)).to.have.members(['news.public.a', 'news.public.c']);
    });

    it('cannot acknowledge what somebody else was given', async () => {
      const [eve, mallory] = [await proxy.token('eve'), await proxy.token('mallory')];
      await poll(proxy, eve, { topics: 'private' });
      const id = await publish(proxy, 'private', 1);
      await poll(proxy, eve, { topics: 'private' });
      const answer = await ack(proxy, mallory, [id]);
      expect(answer.status).to.equal(200);
      expect(answer.body)
        .to.include({ acknowledged: 0 })
        .and.deep.include({ unknown: [id] });
    });
  });
});
