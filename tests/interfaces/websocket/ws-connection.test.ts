import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as immediately, setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { toBatch } from '../../../application/live-topics.js';
import type { MessageBatch } from '../../../application/ports/client-connection.js';
import { CLOSES, type CloseName } from '../../../interfaces/websocket/close-codes.js';
import { takenBytes } from '../../../interfaces/websocket/stall-watch.js';
import { SLOW_GRACE_MS, WsConnection } from '../../../interfaces/websocket/ws-connection.js';
import {
  describeClientConnection,
  type OpenedConnection,
  type Received,
} from '../../contracts/client-connection.contract.js';
import { aCursor, aMessage, aTopic } from '../../support/builders.js';
import { WsClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';

const WRITE_TIMEOUT_MS = 10_000;
const BUFFERED_BYTES_MAX = 100_000;

interface Opened extends OpenedConnection {
  readonly connection: WsConnection;
  readonly client: WsClient;
  readonly clock: ManualClock;
  /** The server's end of the TCP connection. */
  readonly socket: Duplex;
  /** Codes that the server's side was asked to close with. */
  readonly closedWith: readonly number[];
}

const open = async (writeTimeoutMs = WRITE_TIMEOUT_MS): Promise<Opened> => {
  const server = createServer();
  const webSockets = new WebSocketServer({ server });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(webSockets, 'connection');
  const client = await WsClient.connect(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const [webSocket, { socket }] = (await accepted) as [WebSocket, { readonly socket: Duplex }];
  webSocket.on('error', () => undefined);

  const closedWith: number[] = [];
  const close = webSocket.close.bind(webSocket);
  webSocket.close = (code = 0, reason) => {
    closedWith.push(code);
    close(code, reason);
  };

  const clock = new ManualClock();
  const connection = new WsConnection(
    webSocket,
    socket,
    { bufferedBytesMax: BUFFERED_BYTES_MAX, writeTimeoutMs },
    clock,
  );
  let writable = 0;
  connection.writer = { onWritable: () => (writable += 1) };
  const codes: number[] = [];
  void client.closed.then(({ code }) => codes.push(code));
  return {
    connection,
    client,
    clock,
    socket,
    closedWith,
    received: () =>
      client.frames.map(({ type, payload, attempt, from, to }): Received =>
        type === 'gap' ? { gap: { from, to } } : { payload, attempt },
      ),
    writable: () => writable,
    pause: () => client.socket.pause(),
    resume: () => client.socket.resume(),
    closes: () => codes,
    close: async () => {
      client.socket.terminate();
      webSocket.terminate();
      webSockets.close();
      server.close();
      await once(server, 'close');
    },
  };
};

describeClientConnection('WsConnection', open);

describe('WsConnection', () => {
  let opened: Opened;

  afterEach(() => opened.close());

  const PAYLOAD = 'x'.repeat(100_000);
  const largeBatch = (): MessageBatch =>
    toBatch(aTopic(), [{ ...aCursor(), event: aMessage({ payload: JSON.stringify(PAYLOAD) }) }]);

  /** Looked at in each turn of the event loop: within milliseconds all could be taken. */
  const takesSome = async (): Promise<void> => {
    const taken = takenBytes(opened.socket);
    opened.resume();
    while (takenBytes(opened.socket) === taken) await immediately();
    opened.pause();
  };

  const fill = (): void => {
    for (let i = 0; i < 1_000; i++) if (opened.connection.deliver(largeBatch(), 1) === 'full') return;
    throw new Error('it is never full');
  };

  /** Until the system has taken all that it takes while the client does not read. */
  const settledTaking = async (): Promise<void> => {
    for (let taken = -1; taken !== takenBytes(opened.socket);) {
      taken = takenBytes(opened.socket);
      await delay(20);
    }
  };

  /** The client stops to read, and the connection is full and stays so. */
  const stuck = async (): Promise<void> => {
    opened.pause();
    for (let isStuck = false; !isStuck; isStuck = opened.socket.writableNeedDrain) {
      fill();
      await settledTaking();
    }
  };

  it('closes a client that takes nothing with 4008, which it sees once it reads again', async () => {
    opened = await open();
    await stuck();
    opened.clock.advance(WRITE_TIMEOUT_MS - 1);
    expect(opened.closedWith).to.deep.equal([]);
    opened.clock.advance(WRITE_TIMEOUT_MS / 10);
    expect(opened.closedWith).to.deep.equal([4008]);
    opened.resume();
    expect(await opened.client.closed).to.deep.equal(CLOSES.slow_consumer);
    await eventually(() => expect(opened.clock.waiting).to.equal(0));
  });

  it('cuts it off when it does not read that either, and keeps no more for it until then', async () => {
    opened = await open();
    await stuck();
    opened.clock.advance(WRITE_TIMEOUT_MS + WRITE_TIMEOUT_MS / 10);
    expect([opened.closedWith, opened.socket.destroyed]).to.deep.equal([[4008], false]);
    const { writableLength } = opened.socket;
    expect(writableLength).to.be.at.most(BUFFERED_BYTES_MAX + PAYLOAD.length + 1000);
    for (let i = 0; i < 10; i++) {
      expect(opened.connection.deliver(largeBatch(), 1)).to.equal('closed');
      opened.connection.reply('{"type":"pong"}');
    }
    expect(opened.socket.writableLength).to.equal(writableLength);
    opened.clock.advance(SLOW_GRACE_MS);
    expect(opened.socket.destroyed).to.equal(true);
    opened.resume();
    expect((await opened.client.closed).code).to.equal(1006);
    await eventually(() => expect(opened.clock.waiting).to.equal(0));
  });

  it('says nothing of room once it has closed a slow consumer', async () => {
    opened = await open();
    await stuck();
    opened.clock.advance(WRITE_TIMEOUT_MS + WRITE_TIMEOUT_MS / 10);
    opened.resume();
    await opened.client.closed;
    expect(opened.writable()).to.equal(0);
  });

  it('does not close a client that takes little at a time, whatever it leaves', async () => {
    opened = await open();
    await stuck();
    // One more batch than ever fits: all of it waits in a single write, of which nothing is heard until its end.
    const huge = 'x'.repeat(40_000_000);
    opened.connection.deliver(
      toBatch(aTopic(), [{ ...aCursor(), event: aMessage({ payload: JSON.stringify(huge) }) }]),
      1,
    );
    for (let i = 0; i < 5; i++) {
      await takesSome();
      opened.clock.advance(WRITE_TIMEOUT_MS - 1);
      expect(opened.closedWith).to.deep.equal([]);
      expect(opened.socket.writableNeedDrain).to.equal(true);
    }
    await settledTaking();
    opened.clock.advance(WRITE_TIMEOUT_MS + WRITE_TIMEOUT_MS / 10);
    expect(opened.closedWith).to.deep.equal([4008]);
  });

  it('does not close a slow consumer that has read everything in time', async () => {
    opened = await open();
    opened.pause();
    fill();
    opened.resume();
    await eventually(() => expect(opened.writable()).to.equal(1));
    opened.clock.advance(WRITE_TIMEOUT_MS);
    expect(opened.closedWith).to.deep.equal([]);
    expect(opened.clock.waiting).to.equal(0);
  });

  it('counts the time anew each time that it is full', async () => {
    opened = await open();
    for (let i = 1; i <= 3; i++) {
      opened.pause();
      fill();
      opened.clock.advance(WRITE_TIMEOUT_MS - 1);
      opened.resume();
      await eventually(() => expect(opened.writable()).to.equal(i));
    }
    expect(opened.closedWith).to.deep.equal([]);
  });

  it('lets a client be as slow as it likes where there is no write timeout', async () => {
    opened = await open(0);
    opened.pause();
    fill();
    expect(opened.clock.waiting).to.equal(0);
  });

  it('leaves no timer behind when a slow consumer goes', async () => {
    opened = await open();
    opened.pause();
    fill();
    expect(opened.clock.waiting).to.equal(1);
    opened.client.socket.terminate();
    await eventually(() => expect(opened.clock.waiting).to.equal(0));
  });

  it('closes with the code and the reason of each name', async () => {
    for (const name of Object.keys(CLOSES) as CloseName[]) {
      opened = await open();
      opened.connection.close(name);
      expect(await opened.client.closed).to.deep.equal(CLOSES[name]);
      await opened.close();
    }
    opened = await open();
  });

  it('does not read on from a client that does not read its answers', async () => {
    opened = await open();
    opened.pause();
    for (let i = 0; i < 1_000; i++) opened.connection.reply(`{"type":"pong","id":"${'x'.repeat(10_000)}"}`);
    opened.client.sendText('unread');
    opened.resume();
    await eventually(() => expect(opened.client.frames).to.have.length(1_000));
  });
});
