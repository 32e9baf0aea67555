/**
 * What every ClientConnection promises, whatever it is made of. An adapter's test file opens the adapter with a client
 * at its other end and calls `describeClientConnection`.
 */
import { expect } from 'chai';
import { toBatch } from '../../application/live-topics.js';
import type {
  ClientConnection,
  Gap,
  MessageBatch,
  Written,
} from '../../application/ports/client-connection.js';
import { aCursor, aMessage, aTopic } from '../support/builders.js';
import { eventually } from '../support/eventually.js';

/** What a client has got: messages by their payloads, and gaps. */
export type Received =
  | { readonly payload: unknown; readonly attempt: number | undefined }
  | { readonly gap: { readonly from: string; readonly to: string } };

export interface OpenedConnection {
  readonly connection: ClientConnection;
  /** What the client has got so far, in order. */
  received(): readonly Received[];
  /** How often the connection has said that it has room again. */
  writable(): number;
  /** The client stops reading. */
  pause(): void;
  resume(): void;
  /** How often and with what the client was told that it is over; empty while the connection is open. */
  closes(): readonly number[];
  close(): Promise<void>;
}

/** Opens a connection whose buffer holds less than a megabyte. */
export type OpenClientConnection = () => Promise<OpenedConnection>;

/** Batches of ten, each message of about ten kilobytes. */
const LARGE = 'x'.repeat(10_000);
const LARGE_BATCHES_MAX = 1_000;

export const describeClientConnection = (name: string, open: OpenClientConnection): void => {
  describe(`${name} is a ClientConnection`, () => {
    let opened: OpenedConnection;

    beforeEach(async () => (opened = await open()));
    afterEach(() => opened.close());

    const batchOf = (...payloads: readonly unknown[]): MessageBatch =>
      toBatch(
        aTopic(),
        payloads.map((payload, i) => ({
          ...aCursor(i + 1),
          event: aMessage({ payload: JSON.stringify(payload) }),
        })),
      );

    const gap: Gap = { topic: aTopic(), from: aCursor(1), to: aCursor(9), reason: 'retention' };

    const told = (...payloads: readonly unknown[]): readonly Received[] =>
      payloads.map((payload) => ({ payload, attempt: undefined }));

    /** Writes numbered large batches until the connection is full. */
    const fill = (): number => {
      for (let i = 0; i < LARGE_BATCHES_MAX; i++) {
        const written = opened.connection.deliver(
          batchOf(...Array.from({ length: 10 }, (_, k) => [10 * i + k, LARGE])),
          1,
        );
        if (written === 'full') return 10 * (i + 1);
        expect(written).to.equal('sent');
      }
      throw new Error('it is never full');
    };

    it('writes messages in the order in which they are given', async () => {
      for (let i = 0; i < 100; i += 4) {
        expect(opened.connection.deliver(batchOf(i, i + 1, i + 2, i + 3), 1)).to.equal('sent');
      }
      const all = Array.from({ length: 100 }, (_, i) => i);
      await eventually(() => expect(opened.received()).to.deep.equal(told(...all)));
    });

    it('writes a batch that others have been given as it would write its own', async () => {
      const shared = batchOf('a', 'b');
      const other = await open();
      for (const each of [opened, other]) each.connection.deliver(shared, 1);
      for (const each of [opened, other]) {
        await eventually(() => expect(each.received()).to.deep.equal(told('a', 'b')));
      }
      await other.close();
    });

    it('tells the attempt from the second delivery on, also of a batch that was given before', async () => {
      const batch = batchOf('a');
      for (const attempt of [1, 2, 3, 1]) opened.connection.deliver(batch, attempt);
      await eventually(() =>
        expect(opened.received()).to.deep.equal(
          [undefined, 2, 3, undefined].map((attempt) => ({ payload: 'a', attempt })),
        ),
      );
    });

    it('tells a gap in its place between messages', async () => {
      opened.connection.deliver(batchOf('before'), 1);
      expect(opened.connection.tellGap(gap)).to.equal('sent');
      opened.connection.deliver(batchOf('behind'), 1);
      await eventually(() =>
        expect(opened.received()).to.deep.equal([
          ...told('before'),
          { gap: { from: '1735689600000-1', to: '1735689600000-9' } },
          ...told('behind'),
        ]),
      );
    });

    it('is full while the client does not read, and says when it has room again', async () => {
      opened.pause();
      const count = fill();
      expect(opened.writable()).to.equal(0);
      expect(opened.closes()).to.deep.equal([]);
      opened.resume();
      await eventually(() => expect(opened.writable()).to.equal(1));
      expect(opened.connection.deliver(batchOf([count, '']), 1)).to.equal('sent');
      await eventually(() => expect(opened.received()).to.have.length(count + 1));
      const numbers = opened
        .received()
        .map((each) => ('payload' in each ? (each.payload as [number])[0] : undefined));
      expect(numbers).to.deep.equal(Array.from({ length: count + 1 }, (_, i) => i));
    });

    it('writes what it says is full', async () => {
      opened.pause();
      const count = fill();
      opened.resume();
      await eventually(() => expect(opened.received()).to.have.length(count));
    });

    it('is closed for good, and once, however often it is told so', async () => {
      opened.connection.deliver(batchOf('last'), 1);
      for (const reason of ['superseded', 'going_away', 'superseded'] as const)
        opened.connection.close(reason);
      await eventually(() => expect(opened.closes()).to.have.length(1));
      opened.connection.close('internal_error');
      expect(opened.received()).to.deep.equal(told('last'));
      expect(opened.closes()).to.deep.equal([4509]);
    });

    it('writes nothing more once it is closed, and says so', async () => {
      opened.connection.close('going_away');
      const written: readonly Written[] = [
        opened.connection.deliver(batchOf('late'), 1),
        opened.connection.tellGap(gap),
      ];
      expect(written).to.deep.equal(['closed', 'closed']);
      await eventually(() => expect(opened.closes()).to.have.length(1));
      expect(opened.connection.deliver(batchOf('later'), 1)).to.equal('closed');
      expect(opened.received()).to.deep.equal([]);
    });
  });
};
