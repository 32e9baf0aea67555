/**
 * How many writes a client's socket gets, and that what leaves in them is what would have left in one write for each
 * thing that the client is given.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as tickEnd } from 'node:timers/promises';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { WebSocketServer, type WebSocket } from 'ws';
import { toBatch } from '../../../application/live-topics.js';
import type { Gap, MessageBatch } from '../../../application/ports/client-connection.js';
import { gapFrame } from '../../../interfaces/codecs/server-frame.js';
import { CLOSES } from '../../../interfaces/websocket/close-codes.js';
import {
  firstDeliveryFrames,
  messageFrames,
  textFrame,
} from '../../../interfaces/websocket/message-frames.js';
import { WsConnection } from '../../../interfaces/websocket/ws-connection.js';
import { aCursor, aMessage, aTopic } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { upgradeRequest } from './raw-frames.js';

interface End {
  readonly webSocket: WebSocket;
  readonly socket: Duplex;
  /** Each as it was handed to the system. */
  readonly writes: readonly Buffer[];
  /** All that the client has got behind the handshake. */
  received(): Buffer;
}

/** A client may be given any of these at any time. */
type Given =
  | {
      readonly type: 'batch';
      readonly topic: number;
      readonly bytes: number;
      readonly attempt: number;
      readonly isAlone: boolean;
    }
  | { readonly type: 'gap' | 'reply' | 'ping' | 'tick' | 'promise' };

describe('the writes of a tick', () => {
  const server = createServer();
  const webSockets = new WebSocketServer({ server });

  before(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => {
    for (const webSocket of webSockets.clients) webSocket.terminate();
    webSockets.close();
    server.close();
  });

  const open = async (): Promise<End> => {
    const accepted = once(webSockets, 'connection');
    const client = connect({ port: (server.address() as AddressInfo).port, allowHalfOpen: true });
    client.on('error', () => undefined);
    const chunks: Buffer[] = [];
    client.on('data', (chunk: Buffer) => chunks.push(chunk));
    client.write(upgradeRequest('/'));
    const [webSocket, { socket }] = (await accepted) as [WebSocket, { readonly socket: Duplex }];
    webSocket.on('error', () => undefined);
    const writes: Buffer[] = [];
    const write = socket._write.bind(socket);
    socket._write = (chunk: Buffer, encoding, callback) => {
      writes.push(chunk);
      write(chunk, encoding, callback);
    };
    const writev = socket._writev!.bind(socket);
    socket._writev = (parts, callback) => {
      writes.push(Buffer.concat(parts.map(({ chunk }) => chunk as Buffer)));
      writev(parts, callback);
    };
    return {
      webSocket,
      socket,
      writes,
      received: () => {
        const all = Buffer.concat(chunks);
        return all.subarray(all.indexOf('\r\n\r\n') + 4);
      },
    };
  };

  const connectionOf = ({ webSocket, socket }: End): WsConnection =>
    new WsConnection(
      webSocket,
      socket,
      { bufferedBytesMax: 1_000_000, writeTimeoutMs: 0 },
      new ManualClock(),
    );

  const batchOf = (topic: number, bytes = 10): MessageBatch =>
    toBatch(aTopic(`topic.${topic}`), [
      { ...aCursor(), event: aMessage({ payload: JSON.stringify('x'.repeat(bytes)) }) },
    ]);

  const gap: Gap = { topic: aTopic(), from: aCursor(1), to: aCursor(9), reason: 'retention' };
  const PONG = '{"type":"pong"}';

  it('are one, of however many topics', async () => {
    const end = await open();
    const connection = connectionOf(end);
    const batches = Array.from({ length: 50 }, (_, i) => batchOf(i));
    for (const batch of batches) expect(connection.deliver(batch, 1)).to.equal('sent');
    await tickEnd();
    expect(end.writes).to.deep.equal([Buffer.concat(batches.map(firstDeliveryFrames))]);
  });

  it('are one, of messages, answers and what ws has to say', async () => {
    const end = await open();
    const connection = connectionOf(end);
    connection.reply(PONG);
    connection.deliver(batchOf(1), 1);
    end.webSocket.ping();
    connection.tellGap(gap);
    connection.deliver(batchOf(2), 3);
    connection.close('going_away');
    await tickEnd();
    expect(end.writes).to.have.length(1);
    const close = end.writes[0]!.lastIndexOf(0x88);
    expect(end.writes[0]!.subarray(0, close)).to.deep.equal(
      Buffer.concat([
        textFrame(PONG),
        messageFrames(batchOf(1), 0),
        Buffer.from([0x89, 0]),
        textFrame(gapFrame(gap)),
        messageFrames(batchOf(2), 3),
      ]),
    );
  });

  it('are one, of what the tick and its promises give', async () => {
    const end = await open();
    const connection = connectionOf(end);
    connection.reply(PONG);
    await Promise.resolve();
    connection.reply(PONG);
    for (let i = 0; i < 10; i++) await Promise.resolve();
    connection.reply(PONG);
    await tickEnd();
    expect(end.writes).to.have.length(1);
  });

  it('are the shared buffer itself where there is nothing else', async () => {
    const end = await open();
    const batch = batchOf(1);
    connectionOf(end).deliver(batch, 1);
    await tickEnd();
    expect(end.writes).to.have.length(1);
    expect(end.writes[0]).to.equal(batch.encoded);
  });

  it('are not waited for by much at once, which a write of its own costs little', async () => {
    const end = await open();
    const connection = connectionOf(end);
    connection.deliver(batchOf(1, 5_000), 1);
    expect(end.writes).to.have.length(1);
    connection.deliver(batchOf(2), 1);
    connection.deliver(batchOf(3, 5_000), 1);
    await tickEnd();
    expect(end.writes).to.have.length(2);
  });

  it('do not wait for each other where hardly more will come, but for a few', async () => {
    const ends: End[] = [];
    for (let i = 0; i < 20; i++) ends.push(await open());
    const batch = batchOf(1);
    for (const end of ends) expect(connectionOf(end).deliver(batch, 1, true)).to.equal('sent');
    expect(ends.map(({ writes }) => writes.length)).to.deep.equal(ends.map((_, i) => (i < 16 ? 1 : 0)));
    await tickEnd();
    for (const { writes } of ends) expect(writes).to.deep.equal([batch.encoded]);
  });

  it('are one also where more comes than was to be expected', async () => {
    const end = await open();
    const connection = connectionOf(end);
    connection.reply(PONG);
    connection.deliver(batchOf(1), 1, true);
    connection.reply(PONG);
    await tickEnd();
    connection.deliver(batchOf(1), 1, true);
    connection.reply(PONG);
    await tickEnd();
    expect(end.writes).to.have.length(2);
  });

  it('are each its own in different ticks', async () => {
    const end = await open();
    const connection = connectionOf(end);
    for (let i = 1; i <= 3; i++) {
      connection.reply(PONG);
      await tickEnd();
      expect(end.writes).to.have.length(i);
    }
  });

  it('hold no more than a socket does that the system takes nothing of', async () => {
    const end = await open();
    const connection = connectionOf(end);
    connection.deliver(batchOf(1), 1);
    expect(end.writes).to.have.length(0);
    // The rest is not held: whether it is too much is to be known at once.
    connection.deliver(batchOf(2, 50_000), 1);
    expect(end.writes).to.have.length(1);
    for (let i = 0; i < 1_000; i++) {
      connection.deliver(batchOf(3, 1_000), 1);
      expect(end.socket.writableLength).to.be.lessThan(Math.max(end.socket.writableHighWaterMark, 52_000));
    }
    expect(end.writes.length).to.be.within(50, 100);
  });

  it('count as waiting to be written', async () => {
    const end = await open();
    const batch = batchOf(1);
    connectionOf(end).deliver(batch, 1);
    expect(end.socket.writableLength).to.equal(batch.encoded?.length);
    await tickEnd();
    expect(end.socket.writableLength).to.equal(0);
  });

  it('leave where the socket is ended in the same tick', async () => {
    const end = await open();
    const batch = batchOf(1);
    connectionOf(end).deliver(batch, 1);
    end.socket.end();
    await eventually(() => expect(end.received()).to.deep.equal(Buffer.from(batch.encoded!)));
  });

  it('harm nobody where the connection is cut off in the same tick', async () => {
    const [cut, other] = [await open(), await open()];
    for (const end of [cut, other]) connectionOf(end).deliver(batchOf(1), 1);
    cut.webSocket.terminate();
    await tickEnd();
    expect([cut.writes.length, other.writes.length]).to.deep.equal([0, 1]);
  });

  it('have left before a goodbye is followed by the end of the connection, as at a shutdown', async () => {
    const end = await open();
    const connection = connectionOf(end);
    const reply = '{"type":"published"}';
    connection.reply(reply);
    connection.close('going_away');
    end.webSocket.terminate();
    const { code, reason } = CLOSES.going_away;
    const goodbye = Buffer.concat([
      Buffer.from([0x88, 2 + reason.length, code >> 8, code & 0xff]),
      Buffer.from(reason),
    ]);
    await eventually(() => expect(end.received()).to.deep.equal(Buffer.concat([textFrame(reply), goodbye])));
  });

  it('are the bytes that writing each at once would be, in the same order', async () => {
    const arbitraryBatch = fc.record({
      type: fc.constant('batch' as const),
      topic: fc.integer({ min: 0, max: 20 }),
      bytes: fc.oneof({ weight: 9, arbitrary: fc.nat(300) }, { weight: 1, arbitrary: fc.nat(40_000) }),
      attempt: fc.integer({ min: 1, max: 3 }),
      isAlone: fc.boolean(),
    });
    const arbitraryOther = fc.record({
      type: fc.constantFrom('gap' as const, 'reply', 'ping', 'tick', 'promise'),
    });
    const script: fc.Arbitrary<Given[]> = fc.array(fc.oneof(arbitraryBatch, arbitraryOther), {
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(script, fc.boolean(), async (given, isClosed) => {
        const [held, plain] = [await open(), await open()];
        const connection = connectionOf(held);
        for (const each of given) {
          if (each.type === 'tick') await tickEnd();
          else if (each.type === 'promise') await Promise.resolve();
          else if (each.type === 'ping') {
            held.webSocket.ping();
            plain.webSocket.ping();
          } else if (each.type === 'batch') {
            const batch = batchOf(each.topic, each.bytes);
            expect(connection.deliver(batch, each.attempt, each.isAlone)).to.equal('sent');
            plain.socket.write(messageFrames(batch, each.attempt === 1 ? 0 : each.attempt));
          } else if (each.type === 'gap') {
            connection.tellGap(gap);
            plain.socket.write(textFrame(gapFrame(gap)));
          } else {
            connection.reply(PONG);
            plain.socket.write(textFrame(PONG));
          }
        }
        if (isClosed) for (const { webSocket } of [held, plain]) webSocket.close(4001, 'over');
        await tickEnd();
        expect(held.writes.length).to.be.at.most(plain.writes.length);
        expect(Buffer.concat(held.writes).equals(Buffer.concat(plain.writes))).to.equal(true);
        const { length } = Buffer.concat(plain.writes);
        await eventually(() => {
          for (const end of [held, plain]) expect(end.received()).to.have.length(length);
        });
        expect(held.received().equals(plain.received())).to.equal(true);
        for (const { webSocket } of [held, plain]) webSocket.terminate();
      }),
      { numRuns: 100 },
    );
  });
});
