/** The bad network is itself a tool that tests believe: what it says it does to bytes, it does. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import { ChaosProxy } from './chaos-proxy.js';
import { eventually } from './eventually.js';

describe('the chaos proxy', () => {
  let echo: Server;
  let proxy: ChaosProxy;
  let heard: string;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    heard = '';
    echo = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (bytes: Buffer) => {
        heard += bytes.toString();
        socket.write(bytes);
      });
    }).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    proxy = await ChaosProxy.open({ host: '127.0.0.1', port: (echo.address() as AddressInfo).port });
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await proxy.close();
    echo.close();
  });

  interface Talker {
    readonly socket: Socket;
    readonly came: () => string;
    /** How the connection ended; undefined while it lives. */
    readonly ended: () => string | undefined;
  }

  const talk = async (): Promise<Talker> => {
    const socket = connect(proxy.place.port, proxy.place.host);
    sockets.push(socket);
    let came = '';
    let ended: string | undefined;
    socket.on('data', (bytes: Buffer) => (came += bytes.toString()));
    socket.on('error', (error: NodeJS.ErrnoException) => (ended ??= error.code ?? error.message));
    socket.on('close', () => (ended ??= 'closed'));
    await once(socket, 'connect');
    return { socket, came: () => came, ended: () => ended };
  };

  const answers = async (talker: Talker, text: string): Promise<void> => {
    const before = talker.came();
    talker.socket.write(text);
    await eventually(() => expect(talker.came()).to.equal(before + text));
  };

  it('passes both ways', async () => {
    await answers(await talk(), 'hello');
  });

  it('delays, and keeps the order whatever the jitter', async () => {
    await proxy.become({ type: 'delay', delayMs: 40, jitterMs: 40 });
    const talker = await talk();
    const began = performance.now();
    const words = Array.from({ length: 20 }, (_, i) => `${i} `);
    for (const word of words) {
      talker.socket.write(word);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await eventually(() => expect(talker.came()).to.equal(words.join('')));
    // Twenty draws around 40 ms there and 40 ms back: none of them could have been everywhere near zero.
    expect(performance.now() - began).to.be.above(40);
  });

  it('lets no more through than it is told to', async () => {
    await proxy.become({ type: 'throttle', bytesPerSecond: 100_000 });
    const talker = await talk();
    const began = performance.now();
    talker.socket.write('x'.repeat(20_000));
    await eventually(() => expect(talker.came()).to.have.length(20_000));
    // 20 kB there and 20 kB back, of which only the last piece has to wait for the other direction.
    expect(performance.now() - began).to.be.above(200);
  });

  it('swallows everything in a black hole, and cuts what was in it when it heals', async () => {
    const talker = await talk();
    await answers(talker, 'before');
    await proxy.become({ type: 'blackHole' });
    talker.socket.write('lost');
    const newcomer = await talk();
    newcomer.socket.write('lost too');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([talker.ended(), newcomer.ended(), heard]).to.deep.equal([undefined, undefined, 'before']);
    await proxy.heal();
    await eventually(() =>
      expect([talker.ended(), newcomer.ended()]).to.deep.equal(['ECONNRESET', 'ECONNRESET']),
    );
    await answers(await talk(), 'again');
    expect(heard).to.equal('beforeagain');
  });

  it('resets all connections, and takes new ones', async () => {
    const talkers = [await talk(), await talk()];
    for (const talker of talkers) await answers(talker, 'here');
    expect(proxy.cut()).to.equal(2);
    await eventually(() =>
      expect(talkers.map(({ ended }) => ended())).to.deep.equal(['ECONNRESET', 'ECONNRESET']),
    );
    await answers(await talk(), 'again');
  });

  it('silences single connections by the name that they gave themselves, and cuts them by it', async () => {
    const [lost, other] = [await talk(), await talk()];
    await answers(lost, 'name:lost ');
    await answers(other, 'name:other ');
    expect(proxy.silence('name:lost')).to.equal(1);
    lost.socket.write('unheard');
    await answers(other, 'still here');
    expect([lost.ended(), heard.includes('unheard')]).to.deep.equal([undefined, false]);
    expect(proxy.cut('name:lost')).to.equal(1);
    await eventually(() => expect(lost.ended()).to.equal('ECONNRESET'));
    await answers(other, ', and here');
  });

  it('lets a request through and cuts instead of the reply, as often as it is told to', async () => {
    const [first, second] = [await talk(), await talk()];
    await answers(first, 'before ');
    await answers(second, 'before ');
    proxy.cutReplies(1);
    first.socket.write('done');
    await eventually(() => expect(first.ended()).to.equal('ECONNRESET'));
    expect(heard).to.contain('done');
    expect(first.came()).to.equal('before ');
    expect(proxy.cutsLeft).to.equal(0);
    await answers(second, 'still here');
  });

  it('refuses connections, and is at the same place again when it heals', async () => {
    const talker = await talk();
    await answers(talker, 'here');
    await proxy.become({ type: 'refuse' });
    await eventually(() => expect(talker.ended()).to.equal('ECONNRESET'));
    const refused = await talk().catch((error: unknown) => (error as NodeJS.ErrnoException).code);
    expect(refused).to.equal('ECONNREFUSED');
    await proxy.heal();
    await answers(await talk(), 'again');
  });
});
