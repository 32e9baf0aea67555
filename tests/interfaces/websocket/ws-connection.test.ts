import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { expect } from 'chai';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { toBatch } from '../../../application/live-topics.js';
import { CLOSES, type CloseName } from '../../../interfaces/websocket/close-codes.js';
import { WsConnection } from '../../../interfaces/websocket/ws-connection.js';
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

interface Opened extends OpenedConnection {
  readonly connection: WsConnection;
  readonly client: WsClient;
  readonly clock: ManualClock;
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
    { bufferedBytesMax: 100_000, writeTimeoutMs },
    clock,
  );
  let writable = 0;
  connection.onWritable = () => (writable += 1);
  const codes: number[] = [];
  void client.closed.then(({ code }) => codes.push(code));
  return {
    connection,
    client,
    clock,
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

  const fill = (): void => {
    const batch = toBatch(aTopic(), [
      { ...aCursor(), event: aMessage({ payload: `"${'x'.repeat(100_000)}"` }) },
    ]);
    for (let i = 0; i < 1_000; i++) if (opened.connection.deliver(batch, 1) === 'full') return;
    throw new Error('it is never full');
  };

  it('closes a slow consumer with 4008 and cuts it off at once, since it would not read that either', async () => {
    opened = await open();
    opened.pause();
    fill();
    opened.clock.advance(WRITE_TIMEOUT_MS - 1);
    expect(opened.closedWith).to.deep.equal([]);
    opened.clock.advance(1);
    expect(opened.closedWith).to.deep.equal([4008]);
    opened.resume();
    expect((await opened.client.closed).code).to.equal(1006);
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
