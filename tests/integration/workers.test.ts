/** `server.workers`: several processes at one port are one service, whatever becomes of one of them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { post, publish, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { runMain, signToken, type ProxyProcess, type SpawnOptions } from '../support/proxy.js';
import { randomKeyPrefix, sharedValkey } from '../support/shared-valkey.js';
import { spawnReady } from './fleet.js';

/** A process takes a second to start, and a worker is one more. */
const STARTS_MS = 15_000;

const GOING_AWAY = [1001, 1012];

describe('several workers', function () {
  // Three processes and more start for each test, on a machine that may have two CPUs.
  this.timeout(60_000);
  let proxy: ProxyProcess;
  let token: string;

  const start = async (config: Readonly<Record<string, unknown>> = {}, workers = 2): Promise<void> => {
    const { port } = await sharedValkey();
    const options: SpawnOptions = {
      driver: 'valkey',
      valkey: { port, keyPrefix: randomKeyPrefix() },
      config: { server: { workers }, ...config },
    };
    proxy = await spawnReady(options);
    token = await signToken();
    await eventually(() => expect(proxy.stdout()).to.include('"workers_listening"'), STARTS_MS);
  };

  afterEach(async () => {
    proxy.kill('SIGKILL');
    // One that was stopped would live on without hearing that its primary is gone.
    for (const pid of pids().filter(isAlive)) process.kill(pid, 'SIGKILL');
    await proxy.exited;
  });

  const logged = (event: string): readonly Readonly<Record<string, unknown>>[] =>
    proxy
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.includes(`"${event}"`))
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);

  /** Every worker that has ever listened, oldest first. */
  const pids = (): readonly number[] => logged('listening').map(({ pid }) => pid as number);

  const listened = (count: number): Promise<void> =>
    eventually(() => expect(pids()).to.have.length(count), STARTS_MS);

  /** A process that has ended may be listed until somebody has asked how. */
  const isAlive = (pid: number): boolean => {
    const file = `/proc/${pid}/stat`;
    return existsSync(file) && !/\) Z /.test(readFileSync(file, 'utf8'));
  };

  const allGone = (): Promise<void> => eventually(() => expect(pids().filter(isAlive)).to.deep.equal([]));

  /** Asks on a connection of its own, which is the next worker's. */
  const metrics = async (): Promise<string> => {
    const [response] = (await once(get(`${proxy.url}/metrics`, { agent: false }), 'response')) as [
      IncomingMessage,
    ];
    expect(response.statusCode).to.equal(200);
    return text(response);
  };

  const value = (exposition: string, series: string): number | undefined => {
    const line = exposition.split('\n').find((row) => row.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };

  const connect = async (clientId: string): Promise<WsClient> => {
    const client = await WsClient.connect(proxy, { token });
    await client.subscribe(['orders'], { client_id: clientId });
    return client;
  };

  describe('that share the ports', () => {
    it('say the metrics of all, whichever of them is asked', async () => {
      await start();
      const clients = await Promise.all(Array.from({ length: 6 }, (_, i) => connect(`c${i}`)));
      // Each at the same time as the others, and so on a connection of its own.
      await Promise.all(Array.from({ length: 20 }, (_, i) => publish(proxy, 'orders', i)));
      await Promise.all(clients.map((client) => client.nextMessages(20)));
      const expositions = [await metrics(), await metrics(), await metrics(), await metrics()];
      for (const each of expositions) {
        expect(value(each, 'proxy_workers')).to.equal(2);
        expect(value(each, 'proxy_messages_received_total')).to.equal(20);
        expect(value(each, 'proxy_messages_delivered_total{type="websocket"}')).to.equal(120);
        expect(value(each, 'proxy_connections_total{type="websocket"}')).to.equal(6);
        expect(value(each, 'proxy_storage_up')).to.equal(1);
      }
    });

    it('know the same credentials where none are configured, which are said once', async () => {
      await start({ auth: null });
      await eventually(() => expect(proxy.stdout()).to.include('/api/v1/poll'));
      expect(proxy.stdout().match(/DEVELOPMENT ONLY/g)).to.have.length(1);
      token = /token +(\S+)/.exec(proxy.stdout())?.[1] ?? '';
      const publishKey = /API key +(\S+)/.exec(proxy.stdout())?.[1] ?? '';
      const clients = [await connect('a'), await connect('b'), await connect('c'), await connect('d')];
      await publish({ ...proxy, publishKey }, 'orders', 'for all');
      for (const client of clients) expect((await client.next('message')).payload).to.equal('for all');
    });

    it('end with one clear line and 1 where the port is taken', async () => {
      await start();
      const taken = createServer().listen(0, '127.0.0.1');
      await once(taken, 'listening');
      const { port } = taken.address() as AddressInfo;
      const running = runMain([], {
        PULSAR_SERVER_HTTP_PORT: String(port),
        PULSAR_SERVER_HOST: '127.0.0.1',
        PULSAR_SERVER_WORKERS: '3',
        PULSAR_VALKEY_PORT: String((await sharedValkey()).port),
      });
      expect(await running.exited).to.deep.equal({ code: 1, signal: null });
      taken.close();
      expect(running.stderr()).to.include('EADDRINUSE').and.include(String(port));
      expect(running.stderr().trim().split('\n')).to.have.length(1);
    });
  });

  describe('of which one is killed', () => {
    it('replace it, and its clients go on elsewhere without missing a message', async () => {
      await start();
      const COUNT = 300;
      const received = new Map<string, Set<unknown>>();
      let reconnects = 0;
      const traffic = { isOver: false };
      const follow = async (clientId: string): Promise<void> => {
        const seen = new Set<unknown>();
        received.set(clientId, seen);
        while (!traffic.isOver) {
          // The port may take a connection for a worker that is just dying.
          const client = await connect(clientId).catch(() => undefined);
          if (client === undefined) continue;
          const isClosed = client.closed.then(() => true);
          for (;;) {
            const message = await Promise.race([client.next('message', 60_000).catch(() => true), isClosed]);
            if (typeof message === 'boolean') break;
            seen.add(message.payload);
            client.send({ type: 'ack', message_id: message.message_id });
          }
          reconnects += 1;
        }
      };
      const names = Array.from({ length: 8 }, (_, i) => `c${i}`);
      const open = await Promise.all(names.map((name) => connect(name)));
      await Promise.all(open.map((client) => client.close()));
      const following = names.map(follow);

      const publishing = (async () => {
        for (let i = 0; i < COUNT; i++) {
          const headers = { 'idempotency-key': `message-${i}` };
          for (;;) {
            const answer = await post(proxy, { topic: 'orders', payload: i }, { headers }).catch(
              () => undefined,
            );
            if (answer?.status === 201 || answer?.status === 200) break;
          }
        }
      })();
      await eventually(() => {
        for (const seen of received.values()) expect(seen.size).to.be.above(20);
      });
      process.kill(pids()[0]!, 'SIGKILL');
      await publishing;
      await eventually(() => {
        for (const [name, seen] of received) expect(seen.size, name).to.equal(COUNT);
      }, STARTS_MS);

      await listened(3);
      expect(logged('worker_ended')).to.have.length(1);
      expect(logged('worker_ended')[0]).to.include({ endedPid: pids()[0], signal: 'SIGKILL' });
      await eventually(async () => expect(value(await metrics(), 'proxy_workers')).to.equal(2), STARTS_MS);
      expect(value(await metrics(), 'proxy_workers_ended_total')).to.equal(1);
      expect(reconnects).to.be.within(1, names.length - 1);
      traffic.isOver = true;
      proxy.kill('SIGTERM');
      await Promise.all(following);
    });

    it('keep what it had counted, and not its connections', async () => {
      await start();
      const clients = [await connect('a'), await connect('b'), await connect('c'), await connect('d')];
      await Promise.all(Array.from({ length: 20 }, (_, i) => publish(proxy, 'orders', i)));
      await eventually(async () => {
        expect(value(await metrics(), 'proxy_connections_total{type="websocket"}')).to.equal(4);
      });
      process.kill(pids()[0]!, 'SIGKILL');
      await eventually(() => expect(logged('worker_ended')).to.have.length(1));
      await eventually(async () => {
        const open = clients.filter(({ socket }) => socket.readyState === socket.OPEN).length;
        expect(open).to.be.within(1, 3);
        expect(value(await metrics(), 'proxy_connections_total{type="websocket"}')).to.equal(open);
      });
      expect(value(await metrics(), 'proxy_messages_received_total')).to.equal(20);
    });

    it('cut the connection off that it was about to take, so that the client comes back', async () => {
      await start();
      process.kill(pids()[0]!, 'SIGSTOP');
      // Handed out in turn: it has one of these, and will never take it.
      const asked = [metrics(), metrics(), metrics()].map((answer) => answer.catch(() => 'cut off'));
      await Promise.race(asked);
      process.kill(pids()[0]!, 'SIGKILL');
      const answers = await Promise.all(asked);
      expect(answers.filter((answer) => answer === 'cut off')).to.have.length(1);
    });

    it('end with 1, and say why, where its replacements are killed again and again', async () => {
      await start();
      const spared = pids()[1]!;
      const killed = new Set<number>();
      let hasEnded = false;
      void proxy.exited.then(() => (hasEnded = true));
      await eventually(() => {
        for (const pid of pids()) {
          if (pid === spared || killed.has(pid)) continue;
          killed.add(pid);
          process.kill(pid, 'SIGKILL');
        }
        expect(hasEnded).to.equal(true);
      }, STARTS_MS);
      expect(await proxy.exited).to.deep.equal({ code: 1, signal: null });
      expect(proxy.stderr()).to.include('5 times in a row').and.include('SIGKILL');
      await allGone();
    });
  });

  describe('of which one hangs', () => {
    it('say the metrics all the same, with its last figures', async () => {
      await start();
      const clients = [await connect('a'), await connect('b'), await connect('c'), await connect('d')];
      expect(value(await metrics(), 'proxy_connections_total{type="websocket"}')).to.equal(clients.length);
      const [hung] = pids();
      process.kill(hung!, 'SIGSTOP');
      try {
        // One of two connections may be the hung worker's, and waits for it.
        const exposition = await Promise.any([metrics(), metrics(), metrics()]);
        expect(value(exposition, 'proxy_workers')).to.equal(1);
        expect(value(exposition, 'proxy_connections_total{type="websocket"}')).to.equal(clients.length);
      } finally {
        process.kill(hung!, 'SIGCONT');
      }
      await eventually(async () => expect(value(await metrics(), 'proxy_workers')).to.equal(2));
    });
  });

  describe('that are asked to end', () => {
    it('say goodbye to their clients, and all end with 0', async () => {
      await start({}, 3);
      const clients = [await connect('a'), await connect('b'), await connect('c'), await connect('d')];
      proxy.kill('SIGTERM');
      for (const { closed } of clients) expect((await closed).code).to.be.oneOf(GOING_AWAY);
      expect(await proxy.exited, proxy.stdout()).to.deep.equal({ code: 0, signal: null });
      expect(logged('stopped')).to.have.length(3);
      expect(logged('worker_ended')).to.deep.equal([]);
      expect(proxy.stderr()).to.equal('');
      await allGone();
    });

    it('do so, too, where the signal reaches each of them, as from a terminal', async () => {
      await start();
      const client = await connect('a');
      for (const pid of [proxy.pid, ...pids()]) process.kill(pid, 'SIGINT');
      expect((await client.closed).code).to.be.oneOf(GOING_AWAY);
      expect(await proxy.exited, proxy.stdout()).to.deep.equal({ code: 0, signal: null });
      expect(logged('stopped')).to.have.length(2);
    });

    it('are ended at once by a second signal, with 1', async () => {
      await start();
      const [hung] = pids();
      process.kill(hung!, 'SIGSTOP');
      proxy.kill('SIGTERM');
      await eventually(() => expect(logged('draining')).to.have.length(1));
      proxy.kill('SIGTERM');
      expect(await proxy.exited).to.deep.equal({ code: 1, signal: null });
      expect(proxy.stderr()).to.include('SIGTERM again');
      await allGone();
    });

    it('are ended when the drain time is over, with 1, where one hangs', async () => {
      await start({ server: { workers: 2, drain_timeout: '500ms' } });
      const [hung] = pids();
      process.kill(hung!, 'SIGSTOP');
      proxy.kill('SIGTERM');
      expect(await proxy.exited).to.deep.equal({ code: 1, signal: null });
      expect(proxy.stdout()).to.include('drain_timeout');
      await allGone();
    });

    it('one alone, says goodbye to its clients and is replaced', async () => {
      await start();
      const clients = [await connect('a'), await connect('b'), await connect('c'), await connect('d')];
      process.kill(pids()[0]!, 'SIGTERM');
      expect((await Promise.race(clients.map(({ closed }) => closed))).code).to.be.oneOf(GOING_AWAY);
      await listened(3);
      expect(logged('worker_ended')[0]).to.include({ code: 0, level: 'info' });
      const open = clients.filter(({ socket }) => socket.readyState === socket.OPEN);
      expect(open).to.have.length(2);
    });

    it('do not outlive a primary that is killed', async () => {
      await start();
      proxy.kill('SIGKILL');
      await proxy.exited;
      await allGone();
    });
  });
});

describe('workers without a Valkey', () => {
  for (const workers of ['2', 'auto']) {
    it(`are refused with 78 and the reason: ${workers}`, async () => {
      const running = runMain([], { PULSAR_SERVER_WORKERS: workers });
      expect(await running.exited).to.deep.equal({ code: 78, signal: null });
      expect(running.stderr()).to.include('server.workers').and.include('memory driver');
    });
  }
});

describe('a limit of open files', () => {
  const MAIN = fileURLToPath(new URL('../../main.js', import.meta.url));
  const LOW = 1_000;

  /** What the service logs up to its `listening`, where it may open `LOW` files. */
  const startLimited = async (connectionsMax: number): Promise<string> => {
    const child = spawn('sh', ['-c', `ulimit -n ${LOW}; exec "$0" "$1"`, process.execPath, MAIN], {
      env: {
        PATH: process.env['PATH'],
        PULSAR_SERVER_HTTP_PORT: '0',
        PULSAR_SERVER_HOST: '127.0.0.1',
        PULSAR_STORAGE_DRIVER: 'memory',
        PULSAR_LIMITS_MAX_CONNECTIONS_PER_INSTANCE: String(connectionsMax),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    try {
      await eventually(() => expect(stdout).to.include('"listening"'), STARTS_MS);
    } finally {
      child.kill('SIGKILL');
    }
    return stdout;
  };

  it('that is lower than the connections allowed need is warned of, with both numbers', async () => {
    const line = (await startLimited(2_000))
      .split('\n')
      .find((each) => each.includes('file_descriptors_low'));
    expect(JSON.parse(line ?? '{}')).to.include({ level: 'warn', available: LOW, needed: 2_200 });
  });

  it('that is high enough is not mentioned', async () => {
    expect(await startLimited(500)).not.to.include('file_descriptors_low');
  });
});
