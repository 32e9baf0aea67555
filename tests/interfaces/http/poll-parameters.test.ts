import { expect } from 'chai';
import { poll, publish, request } from '../../support/client.js';
import { startProxy, type Proxy } from '../../support/proxy.js';

describe('the parameters of GET /api/v1/poll', () => {
  let proxy: Proxy;
  let token: string;

  before(async () => {
    proxy = await startProxy({ config: { limits: { max_topics_per_subscription: 5 } } });
    token = await proxy.token();
  });
  after(() => proxy.stop());

  const refused = async (
    parameters: Readonly<Record<string, string | number>>,
    field: string,
  ): Promise<void> => {
    const answer = await poll(proxy, token, { topics: 't', ...parameters });
    const what = JSON.stringify(parameters).slice(0, 100);
    expect(answer.status, what).to.equal(400);
    expect(answer.headers.get('content-type'), what).to.match(/^application\/problem\+json/);
    expect(answer.body, what).to.include({ code: 'invalid_request', field, status: 400 });
  };

  it('refuses a timeout that is no whole number of seconds from 0 to the maximum', async () => {
    for (const timeout of [-1, 61, 1.5, '1e9', 999_999, 'soon', '0x10', 'NaN', 'Infinity', ' 1'])
      await refused({ timeout }, 'timeout');
  });

  it('refuses a max that is no whole number from 1 to 1000', async () => {
    for (const max of [0, -1, 1001, 1.5, 'all']) await refused({ max }, 'max');
  });

  it('takes both lists where topics is given twice', async () => {
    const asked = '/api/v1/poll?timeout=0&client_id=twice&topics=one&topics=two';
    await request(proxy, 'GET', asked, { token });
    await publish(proxy, 'two', 'kept');
    const answer = await request(proxy, 'GET', asked, { token });
    expect(answer.body).to.have.nested.property('messages[0].payload', 'kept');
  });

  it('does not take messages for a HEAD, which could not answer with them', async () => {
    await poll(proxy, token, { topics: 't', client_id: 'head', timeout: 0 });
    await publish(proxy, 't', 'kept');
    const head = await request(proxy, 'HEAD', '/api/v1/poll?timeout=0&client_id=head&topics=t', { token });
    expect(head.status).to.equal(405);
    const answer = await poll(proxy, token, { topics: 't', client_id: 'head', timeout: 0 });
    expect(answer.body).to.have.nested.property('messages[0].attempt', 1);
  });

  it('refuses a poll without topics', async () => {
    await refused({ topics: '' }, 'topics');
    const answer = await request(proxy, 'GET', '/api/v1/poll?timeout=0', { token });
    expect(answer.status).to.equal(400);
    expect(answer.body).to.include({ code: 'invalid_request', field: 'topics' });
  });

  it('refuses topics and patterns that there cannot be, naming which', async () => {
    await refused({ topics: 't,a b' }, 'topics[1]');
    await refused({ topics: 'a.>.b' }, 'topics[0]');
    await refused({ topics: 't,,u' }, 'topics[1]');
    await refused({ topics: '$sys.>' }, 'topics[0]');
    await refused({ topics: 'x'.repeat(300) }, 'topics[0]');
  });

  it('refuses more topics than a subscription may have', async () => {
    await refused({ topics: 'a,b,c,d,e,f' }, 'topics');
    await refused({ topics: Array(1001).fill('a').join(',') }, 'topics');
  });

  it('refuses a client_id that is none', async () => {
    for (const client_id of ['a b', 'a/b', 'a:b', 'ä', 'x'.repeat(129)])
      await refused({ client_id }, 'client_id');
  });

  it('refuses a delivery that is no guarantee', async () => {
    for (const delivery of ['exactly_once', 'AT_LEAST_ONCE', 'at-least-once'])
      await refused({ delivery }, 'delivery');
  });

  it('refuses a delivery that is called like something every JavaScript object has', async () => {
    for (const delivery of ['constructor', 'toString', '__proto__', 'hasOwnProperty'])
      await refused({ delivery }, 'delivery');
  });

  it('refuses a start that is none', async () => {
    for (const from of [
      'now',
      '1',
      '1-1024',
      '-1-0',
      '2025-01-01',
      '2025-01-01T00:00:00',
      '99999999999999-0',
    ])
      await refused({ from }, 'from');
  });

  it('refuses an ack_timeout that is none', async () => {
    for (const ack_timeout of [0, -1, 86_401, 'x']) await refused({ ack_timeout }, 'ack_timeout');
  });

  it('takes a parameter without a value for one that is not there', async () => {
    const answer = await request(
      proxy,
      'GET',
      '/api/v1/poll?topics=t&timeout=0&max=&client_id=&delivery=&from=&ack_timeout=',
      { token },
    );
    expect(answer.status).to.equal(200);
  });

  it('takes the longest timeout from the configuration', async () => {
    const short = await startProxy({ config: { server: { max_poll_timeout: '2s' } } });
    try {
      const answer = await poll(short, token, { topics: 't', timeout: 3 });
      expect(answer.status).to.equal(400);
      expect(answer.body.field).to.equal('timeout');
      expect(answer.body.detail).to.include('from 0 to 2');
    } finally {
      await short.stop();
    }
  });
});
