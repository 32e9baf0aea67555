import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { LineWriter } from '../../../infrastructure/observability/standard-output.js';

const linesOf = (text: string): readonly string[] => text.split('\n').slice(0, -1);

describe('LineWriter', () => {
  let folder: string;
  let file: string;
  let fd: number;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'pulsar-lines-'));
    file = join(folder, 'out');
    fd = openSync(file, 'a');
  });
  afterEach(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });

  const written = async (count: number): Promise<readonly string[]> => {
    while (linesOf(readFileSync(file, 'utf8')).length < count) await sleep(1);
    return linesOf(readFileSync(file, 'utf8'));
  };

  it('writes every line, in order', async () => {
    const writer = new LineWriter(fd);
    const lines = Array.from({ length: 1_000 }, (_, i) => `line ${i}`);
    for (const line of lines.slice(0, 500)) writer.write(`${line}\n`);
    await sleep(1);
    for (const line of lines.slice(500)) writer.write(`${line}\n`);
    expect(await written(1_000)).to.deep.equal(lines);
  });

  it('writes at once what is waiting when the process ends', async () => {
    const writer = new LineWriter(fd);
    for (const line of ['one\n', 'two\n', 'three\n']) writer.write(line);
    writer.flush();
    expect(await written(3)).to.have.members(['one', 'two', 'three']);
  });

  it('drops lines beyond its bound, and tells how many when there is room again', async () => {
    const writer = new LineWriter(fd);
    const line = `${'x'.repeat(100_000)}\n`;
    // The first is on its way at once; ten more fit.
    for (let i = 0; i < 20; i++) writer.write(line);
    const last = (await written(12)).find((each) => each.startsWith('{'));
    expect(JSON.parse(last!)).to.include({ event: 'log_lines_dropped', count: 9 });
  });

  it('survives an output that cannot be written to', async () => {
    const full = openSync('/dev/full', 'w');
    const writer = new LineWriter(full);
    writer.write('lost\n');
    await sleep(20);
    writer.write('lost too\n');
    writer.write('lost in the end\n');
    writer.flush();
    await sleep(20);
    closeSync(full);
  });

  it('waits for a reader who takes a break, and does not end waiting for one', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address() as { port: number };
    const reader = connect(address.port, '127.0.0.1').pause();
    const [accepted] = (await once(server, 'connection')) as [Socket];
    const { fd: socketFd } = (accepted as unknown as { _handle: { fd: number } })._handle;
    const writer = new LineWriter(socketFd);
    const line = `${'x'.repeat(99_999)}\n`;
    // More than the buffers of a socket hold: sockets answer EAGAIN, as pipes that others have made non-blocking do.
    for (let i = 0; i < 200; i++) {
      writer.write(line);
      if (i % 5 === 0) await sleep(1);
    }
    writer.flush();
    writer.write('the end');
    let received = '';
    reader.on('data', (data) => (received = `${received}${data.toString('latin1')}`.slice(-7))).resume();
    while (received !== 'the end') await sleep(1);
    reader.destroy();
    accepted.destroy();
    server.close();
  });
});
