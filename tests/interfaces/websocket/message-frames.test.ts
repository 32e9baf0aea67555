import { createRequire } from 'node:module';
import type { Writable } from 'node:stream';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  firstDeliveryFrames,
  messageFrames,
  textFrame,
  textFrames,
} from '../../../interfaces/websocket/message-frames.js';
import { toBatch } from '../../../application/live-topics.js';
import { aCursor, aMessage, aTopic } from '../../support/builders.js';

/** How ws reads what a server sends; it has a Receiver that its types do not know of. */
const { Receiver } = createRequire(import.meta.url)('ws') as {
  readonly Receiver: new (options: { readonly isServer: boolean }) => Writable;
};

/** The texts that a client reads from `bytes`. */
const received = (bytes: Uint8Array): readonly string[] => {
  const texts: string[] = [];
  const receiver = new Receiver({ isServer: false });
  receiver.on('message', (data: Buffer, isBinary: boolean) => {
    expect(isBinary).to.equal(false);
    texts.push(data.toString('utf8'));
  });
  receiver.on('error', (error) => {
    throw error;
  });
  receiver.write(Buffer.from(bytes));
  return texts;
};

describe('messages as WebSocket frames', () => {
  it('are read by ws as they were written, whatever their length', () => {
    const borders = [0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 200_000];
    for (const length of borders) {
      const text = 'x'.repeat(length);
      expect(received(textFrames([text])), String(length)).to.deep.equal([text]);
    }
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200_000 }), (length) => {
        const text = 'y'.repeat(length);
        expect(received(textFrames([text]))[0] === text).to.equal(true);
      }),
      { numRuns: 50 },
    );
  });

  it('are the same by themselves as in a row of one', () => {
    const borders = [124, 125, 126, 65_535, 65_536].flatMap((length) => [
      'x'.repeat(length),
      `${'x'.repeat(length - 2)}ä`,
      'é'.repeat(length),
    ]);
    const anyText = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.string({ unit: 'binary-ascii', maxLength: 200 }),
      // Half of a surrogate pair, as JSON.stringify never writes it.
      fc.string({ maxLength: 100 }).map((text) => `${text}\ud800`),
      fc.constantFrom(...borders),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        expect(Buffer.compare(textFrame(text), textFrames([text]))).to.equal(0);
      }),
      { numRuns: 500 },
    );
  });

  it('are read one by one where there are many in one buffer', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 50 }),
      fc.integer({ min: 120, max: 130 }).map((length) => '😀'.repeat(Math.ceil(length / 4))),
      fc.integer({ min: 65_530, max: 65_540 }).map((length) => 'ä'.repeat(Math.ceil(length / 2))),
    );
    fc.assert(
      fc.property(fc.array(text, { maxLength: 6 }), (texts) => {
        expect(received(textFrames(texts))).to.deep.equal(texts);
      }),
      { numRuns: 50 },
    );
  });

  const batch = () =>
    toBatch(
      aTopic('orders'),
      ['{"a":1}', '"😀"'].map((payload, i) => ({ ...aCursor(i + 1), event: aMessage({ payload }) })),
    );

  it('have no attempt the first time, and are the same buffer for everybody', () => {
    const shared = batch();
    expect(firstDeliveryFrames(shared)).to.equal(firstDeliveryFrames(shared));
    expect(received(firstDeliveryFrames(shared))).to.deep.equal([
      '{"type":"message","message_id":"orders:1735689600000-1","topic":"orders","payload":{"a":1},"timestamp":"2025-01-01T00:00:00.000Z"}',
      '{"type":"message","message_id":"orders:1735689600000-2","topic":"orders","payload":"😀","timestamp":"2025-01-01T00:00:00.000Z"}',
    ]);
  });

  it('carry the attempt from the second delivery on, and leave the shared buffer as it is', () => {
    const shared = batch();
    const first = firstDeliveryFrames(shared);
    for (const text of received(messageFrames(shared, 3)))
      expect(JSON.parse(text)).to.include({ attempt: 3 });
    expect(firstDeliveryFrames(shared)).to.equal(first);
  });
});
