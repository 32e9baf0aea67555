/** The command line: what the process says and how it ends, before and without serving anybody. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { payloads, poll, publish, request, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { runMain, spawnProxy, type Exit, type ProxyProcess } from '../support/proxy.js';

const CONFIG_ERROR: Exit = { code: 78, signal: null };
const WELL: Exit = { code: 0, signal: null };

describe('the command line', () => {
  let folder: string;

  before(() => (folder = mkdtempSync(join(tmpdir(), 'pulsar-cli-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  const file = (text: string, name = 'config.yaml'): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };

  const run = async (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const running = runMain(args, env);
    return { exit: await running.exited, stdout: running.stdout(), stderr: running.stderr() };
  };

  it('--version says the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(process.cwd(), 'package.json'), 'utf8')) as {
      readonly version: string;
    };
    const { exit, stdout } = await run(['--version']);
    expect(exit).to.deep.equal(WELL);
    expect(stdout).to.equal(`${version}\n`);
  });

  it('--help says what can be said, and an unknown option is refused', async () => {
    const help = await run(['--help']);
    expect(help.exit).to.deep.equal(WELL);
    expect(help.stdout).to.include('--config').and.include('--check-config').and.include('--version');
    const unknown = await run(['--confg', 'x']);
    expect(unknown.exit.code).not.to.equal(0);
    expect(unknown.stderr).to.include('--confg');
  });

  describe('--check-config', () => {
    const check = (text: string, env?: Readonly<Record<string, string>>) =>
      run(['--check-config', '--config', file(text)], env);

    it('accepts the example, and ends without serving', async () => {
      const example = readFileSync(join(process.cwd(), 'config.example.yaml'), 'utf8');
      const { exit, stdout, stderr } = await check(example);
      expect(exit).to.deep.equal(WELL);
      expect(stdout).to.include('valid');
      expect(stderr).to.equal('');
    });

    it('tells everything that is wrong at once, each with its path, and ends with 78', async () => {
      const { exit, stdout, stderr } = await check(`
server:
  http_port: 99999
  drain_timeout: soon
storage:
  drivr: valkey
delivery:
  max_in_flight: -1
auth:
  api_keys:
    - name: a
      publish: ['orders.*.>.x']
  jwt:
    secret: short
surprise: true
`);
      expect(exit).to.deep.equal(CONFIG_ERROR);
      expect(stdout).to.equal('');
      for (const path of [
        'server.http_port',
        'server.drain_timeout',
        'storage.drivr',
        'delivery.max_in_flight',
        'auth.api_keys[0].publish',
        'auth.jwt.secret',
        'surprise',
      ]) {
        expect(stderr).to.include(path);
      }
      expect(stderr).to.include('driver');
      expect(stderr, 'the secret itself').not.to.include('short');
    });

    it('tells where the text is not YAML', async () => {
      const { exit, stderr } = await check('server:\n  http_port: [1\n');
      expect(exit).to.deep.equal(CONFIG_ERROR);
      expect(stderr).not.to.equal('');
    });

    it('knows environment variables, and tells those that it does not know', async () => {
      const good = await check('', { PULSAR_SERVER_HTTP_PORT: '9000', PULSAR_DELIVERY_ACK_TIMEOUT: '10s' });
      expect(good.exit).to.deep.equal(WELL);
      const bad = await check('', { PULSAR_SERVER_HTTP_PROT: '9000', PULSAR_DELIVERY_ACK_TIMEOUT: 'soon' });
      expect(bad.exit).to.deep.equal(CONFIG_ERROR);
      expect(bad.stderr).to.include('PULSAR_SERVER_HTTP_PROT').and.include('PULSAR_SERVER_HTTP_PORT');
      expect(bad.stderr).to.include('PULSAR_DELIVERY_ACK_TIMEOUT');
    });

    it('tells that the file cannot be read', async () => {
      const { exit, stderr } = await run(['--check-config', '--config', join(folder, 'nowhere.yaml')]);
      expect(exit).to.deep.equal(CONFIG_ERROR);
      expect(stderr).to.include('nowhere.yaml');
    });

    it('is what a start does first: with a wrong configuration nothing is served', async () => {
      const { exit, stderr } = await run(['--config', file('server: {http_port: x}')]);
      expect(exit).to.deep.equal(CONFIG_ERROR);
      expect(stderr).to.include('server.http_port');
    });
  });

  it('a port that is taken is said plainly, with exit code 1', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { exit, stderr } = await run([], {
      PULSAR_SERVER_HTTP_PORT: String(port),
      PULSAR_SERVER_HOST: '127.0.0.1',
    });
    taken.close();
    expect(exit).to.deep.equal({ code: 1, signal: null });
    expect(stderr).to.include('EADDRINUSE').and.include(String(port));
    expect(stderr.trim().split('\n')).to.have.length(1);
  });

  describe('with no configuration at all', () => {
    let proxy: ProxyProcess;

    before(async () => {
      proxy = await spawnProxy({ config: { auth: null, storage: null, log: null } });
      await eventually(() => expect(proxy.stdout()).to.include('/api/v1/poll'));
    });
    after(() => proxy.stop());

    const printed = (pattern: RegExp): string => pattern.exec(proxy.stdout())?.[1] ?? '';
    const token = (): string => printed(/token +(\S+)/);

    it('says that messages live in this process and that the credentials are for development', () => {
      expect(proxy.stdout()).to.include('storage_in_memory').and.include('DEVELOPMENT ONLY');
      expect(proxy.stderr()).to.equal('');
    });

    it('prints a curl line that works when it is pasted, and a message that arrives', async () => {
      const client = await WsClient.connect(printed(/(ws:\/\/\S+)/).replace('localhost', '127.0.0.1'));
      await client.subscribe(['notifications']);
      const line = printed(/^ *(curl -X POST .*)$/m);
      const { stdout } = await promisify(execFile)('bash', ['-c', `${line} -s`]);
      expect(JSON.parse(stdout)).to.include({ topic: 'notifications' });
      const message = await client.next('message');
      expect(message.payload).to.deep.equal({ user_id: 123, message: 'Hello, World!' });
      await client.close();
    });

    it('prints a poll that works when it is pasted', async () => {
      await poll(proxy, token(), { topics: 'notifications' });
      await publish({ url: proxy.url, publishKey: printed(/API key +(\S+)/) }, 'notifications', 1);
      const line = printed(/^ *(curl -H .*)$/m);
      const { stdout } = await promisify(execFile)('bash', ['-c', `${line} -s`]);
      expect(payloads((JSON.parse(stdout) as { messages: [] }).messages)).to.deep.equal([1]);
    });

    it('lets nobody in without them', async () => {
      const { status } = await request(proxy, 'POST', '/api/v1/messages', {
        body: { topic: 'a', payload: 1 },
      });
      expect(status).to.equal(401);
    });

    it('makes up others at every start', async () => {
      const other = await spawnProxy({ config: { auth: null, storage: null, log: null } });
      await eventually(() => expect(other.stdout()).to.include('/api/v1/poll'));
      expect(/token +(\S+)/.exec(other.stdout())?.[1]).not.to.equal(token());
      expect(/API key +(\S+)/.exec(other.stdout())?.[1]).not.to.equal(printed(/API key +(\S+)/));
      await other.stop();
    });
  });
});
