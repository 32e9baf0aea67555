/** The generator has framing of its own; what it reads and writes must be what everybody else does. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { WebSocketServer } from 'ws';
import { AckFrames, textFrame } from '../../benchmarks/generator/client-frames.js';
import { packetIdOf, packetSize, publishPacket } from '../../benchmarks/generator/clients/mqtt-packets.js';
import { FrameScanner } from '../../benchmarks/generator/frame-scanner.js';
import { headerSize, serverFrameSize } from '../../benchmarks/generator/server-frames.js';
import { WebSocket } from '../../benchmarks/generator/web-socket.js';

/** As a server sends it: not masked. */
const serverFrame = (content: string): Buffer => {
  const bytes = Buffer.from(content);
  const head =
    bytes.length < 126 ? [0x81, bytes.length] : [0x81, 126, bytes.length >> 8, bytes.length & 0xff];
  return Buffer.concat([Buffer.from(head), bytes]);
};

describe('the framing of the load generator', () => {
  it('finds the same frames wherever the stream is cut', () => {
    const contents = fc.array(fc.string({ maxLength: 300 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(contents, fc.array(fc.nat(), { maxLength: 12 }), (texts, cuts) => {
        const stream = Buffer.concat(texts.map(serverFrame));
        const found: string[] = [];
        const scanner = new FrameScanner(serverFrameSize, (bytes, start, end) =>
          found.push(bytes.toString('utf8', start + headerSize(bytes, start), end)),
        );
        const ends = [...cuts.map((cut) => cut % stream.length), stream.length].sort((a, b) => a - b);
        let from = 0;
        for (const end of ends) {
          scanner.feed(stream, from, end);
          from = end;
        }
        expect(found).to.deep.equal(texts);
      }),
    );
  });

  it('writes frames that a WebSocket server understands, long ones and collected acknowledgements as well', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    const texts: string[] = [];
    const complete = new Promise<void>((resolve) =>
      server.on('connection', (socket) =>
        socket.on('message', (data: Buffer) => {
          texts.push(data.toString());
          if (texts.length === 4) resolve();
        }),
      ),
    );
    const socket = await WebSocket.open(
      { port: (server.address() as AddressInfo).port, path: '/', headers: '' },
      { onText: () => undefined, onReceived: () => undefined, onFailure: () => undefined },
    );
    const long = 'x'.repeat(1_000);
    const acks = new AckFrames('<', '>');
    const message = Buffer.from('..id-1"..id-2"');
    acks.add(message, 2, '"'.charCodeAt(0));
    acks.add(message, 9, '"'.charCodeAt(0));
    socket.write(textFrame('short'));
    socket.write(textFrame(long));
    socket.write(acks.take()!);
    await complete;
    expect(texts).to.deep.equal(['short', long, '<id-1>', '<id-2>']);
    socket.close();
    server.close();
  });

  it('knows where an MQTT packet ends and which id it is acknowledged by', () => {
    for (const length of [0, 100, 200, 20_000]) {
      const packet = publishPacket('a/topic', 'x'.repeat(length));
      const followed = Buffer.concat([packet, Buffer.from([0x30])]);
      expect(packetSize(followed, 0, followed.length)).to.equal(packet.length);
      expect(packetSize(followed, 0, 1)).to.equal(0);
      expect(packetIdOf(packet, 0)).to.equal(1);
    }
  });
});
