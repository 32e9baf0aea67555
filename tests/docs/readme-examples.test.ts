/**
 * The examples of README.md, run as they stand there: nothing is replaced but the credentials and the address. curl is
 * curl, and the clients are processes of their own.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { metric, poll } from '../support/client.js';
import { isReady } from '../integration/fleet.js';
import { eventually } from '../support/eventually.js';
import { ManualClock } from '../support/manual-clock.js';
import { startProxy, type Proxy, type ProxyOptions } from '../support/proxy.js';
import { randomKeyPrefix, sharedValkey } from '../support/shared-valkey.js';

const ACK_TIMEOUT_MS = 30_000;

const readme = readFileSync('README.md', 'utf8');

/** The only code block of this language that has `mark` in it. */
const exampleWith = (language: string, mark: string): string => {
  const blocks = [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  const found = blocks.filter(([, of, text = '']) => of === language && text.includes(mark));
  expect(found, `${language} examples with ${mark}`).to.have.length(1);
  return found[0]?.[2] ?? '';
};

/** Node 20 has no WebSocket of its own; later ones and browsers do. */
const withWebSocket = `import { WebSocket } from ${JSON.stringify(
  pathToFileURL(
    createRequire(import.meta.url)
      .resolve('ws')
      .replace(/index\.js$/, 'wrapper.mjs'),
  ).href,
)}; globalThis.WebSocket ??= WebSocket;`;

interface Running {
  readonly child: ChildProcess;
  readonly output: () => string;
}

const run = (command: string, args: readonly string[]): Running => {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  return { child, output: () => output };
};

const runNode = (script: string): Running =>
  run(process.execPath, [
    '--import',
    `data:text/javascript,${encodeURIComponent(withWebSocket)}`,
    '--input-type=module',
    '--eval',
    script,
  ]);

const describeExamples = (driver: string, options: () => Promise<ProxyOptions>): void => {
  describe(`the examples of the README on ${driver}`, () => {
    let clock: ManualClock;
    let proxy: Proxy;
    let token: string;
    let clients: ChildProcess[];

    beforeEach(async () => {
      clients = [];
      clock = new ManualClock(Date.now());
      proxy = await startProxy({ ...(await options()), clock });
      token = await proxy.token('reader');
      await isReady(proxy);
    });
    afterEach(async () => {
      for (const client of clients) client.kill('SIGKILL');
      await proxy.stop();
    });

    const here = (example: string): string =>
      example
        .replaceAll('YOUR_API_KEY', proxy.publishKey)
        .replaceAll('YOUR_TOKEN', token)
        .replaceAll('localhost:8080', new URL(proxy.url).host);

    const sendWithCurl = async (): Promise<void> => {
      const curl = run('bash', ['-c', here(exampleWith('bash', '/api/v1/messages '))]);
      const [code] = (await once(curl.child, 'close')) as [number];
      expect(code, curl.output()).to.equal(0);
      expect(curl.output()).to.match(/"message_id":"notifications:\d{13}-\d{1,4}"/);
    };

    const startClient = (mark: string): Running => {
      const client = runNode(here(exampleWith('javascript', mark)));
      clients.push(client.child);
      return client;
    };

    const received = /Received: \{ user_id: 123, message: 'Hello, World!' \}/g;

    it('send a message with curl', sendWithCurl);

    it('receive it with the WebSocket client, which acknowledges it', async () => {
      const client = startClient('new WebSocket(');
      await caughtUp('websocket');
      await sendWithCurl();
      await eventually(() => expect(client.output().match(received)).to.have.length(1));
      await caughtUp('websocket');
      await nothingIsLeft(client, 'client-123');
    });

    it('receive it with the long-polling client, which acknowledges it and goes on', async () => {
      const client = startClient('/api/v1/poll');
      for (let i = 1; i <= 2; i++) {
        await caughtUp('long_poll');
        await sendWithCurl();
        await eventually(() => expect(client.output().match(received)).to.have.length(i));
      }
      // It polls again once its acknowledgement has been answered.
      await caughtUp('long_poll');
      await nothingIsLeft(client, 'default');
    });

    /** Waits until a client of this kind follows the topic and has acknowledged everything in it. */
    const caughtUp = (type: string): Promise<void> =>
      eventually(async () => {
        expect(await metric(proxy, `proxy_connections_total{type="${type}"}`)).to.equal(1);
        expect(await metric(proxy, 'proxy_queue_depth{topic="notifications"}')).to.equal(0);
      });

    /** Nobody who goes on in place of this client is given anything, now or after the time for acknowledgements. */
    const nothingIsLeft = async (client: Running, clientId: string): Promise<void> => {
      client.child.kill('SIGKILL');
      for (let i = 0; i < 2; i++) {
        const { body } = await poll(proxy, token, { topics: 'notifications', client_id: clientId });
        expect(body.messages).to.deep.equal([]);
        clock.advance(ACK_TIMEOUT_MS);
      }
    };
  });
};

describeExamples('memory', () => Promise.resolve({ driver: 'memory' }));
describeExamples('Valkey', async () => {
  const { port } = await sharedValkey();
  return { driver: 'valkey', valkey: { port, keyPrefix: randomKeyPrefix() } };
});
