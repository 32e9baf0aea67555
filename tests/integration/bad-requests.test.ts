/** What is no request, or never becomes a whole one: answered, and then cut off. */
import { expect } from 'chai';
import { sendBytes } from '../support/client.js';
import { startProxy, type Proxy } from '../support/proxy.js';

const HEAD = 'POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';

describe('what is sent instead of a request', () => {
  let proxy: Proxy;

  before(async () => {
    proxy = await startProxy({ config: { server: { read_timeout: '1s' } } });
  });
  after(() => proxy.stop());

  const slow = {
    'a body that does not come': () =>
      `${HEAD}Authorization: Bearer ${proxy.publishKey}\r\nContent-Length: 100\r\n\r\n{`,
    'headers that do not end': () => HEAD,
  };
  for (const [name, text] of Object.entries(slow)) {
    it(`${name} is answered with the problem request_timeout`, async () => {
      const answer = await sendBytes(proxy, text());
      const [head = '', body = ''] = answer.split('\r\n\r\n');
      expect(head).to.match(/^HTTP\/1\.1 408 Request Timeout\r\n/);
      expect(head).to.include('Content-Type: application/problem+json').and.to.include('Connection: close');
      expect(JSON.parse(body)).to.include({ status: 408, code: 'request_timeout', temporary: true });
      expect(answer.match(/HTTP\/1\.1/g)).to.have.length(1);
    });
  }

  it('text that is no HTTP is answered 400', async () => {
    expect(await sendBytes(proxy, 'hello\r\n\r\n')).to.equal(
      'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
    );
  });

  it('headers that are too long are answered 431', async () => {
    const answer = await sendBytes(proxy, `GET /health HTTP/1.1\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(answer).to.match(/^HTTP\/1\.1 431 /);
  });
});
