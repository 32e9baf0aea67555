/** What is stored comes back as it was: payloads to the byte, every field, every event, each from its own stream. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { EventStore, StoredEvent, Stream } from '../../application/ports/event-store.js';
import { subscriptionStream, topicStream } from '../../application/ports/event-store.js';
import { BEGINNING, NO_OFFSET, type Offset } from '../../domain/message/offset.js';
import type { MessagePublished } from '../../domain/topic/topic-events.js';
import { aCursor, aMessage, anIdentity, aTopic, everySubscriptionEvent } from '../support/builders.js';
import { TEST_START } from '../support/manual-clock.js';
import { payloadOf } from '../support/payload-of.js';
import { right } from '../support/task-either.js';

/** JSON texts that parsing and printing again would change. */
const DELICATE_PAYLOADS: readonly string[] = [
  '12345678901234567890',
  '1.10',
  '1E400',
  '-0.0',
  '{"b":1,"a":2,"b":3}',
  ' \n\t\r{ "spaced" :\n\t[ 1 , 2 ]\r\n} ',
  '"\\u0041\\u00e9\\ud83d\\ude00\\ud800\\u0000\\/\\b"',
  '"é ñ 漢字 😀 👩‍👩‍👧 \u2028 \u2029 \u007f \u0080 \ufeff \uffff"',
  '"\ufeff"',
  '{"__proto__":{"polluted":true}}',
  '""',
  'null',
  `"${'x'.repeat(200_000)}"`,
];

const anyText = fc.string({ unit: 'binary', maxLength: 50 });

const anyMessage: fc.Arbitrary<MessagePublished> = fc.record(
  {
    type: fc.constant('MessagePublished' as const),
    payload: fc
      .tuple(fc.json(), fc.stringMatching(/^[ \t\n\r]{0,4}$/), fc.stringMatching(/^[ \t\n\r]{0,4}$/))
      .map(([json, left, right]) => left + json + right),
    expiresAt: fc.integer({ min: 1, max: 8_640_000_000_000_000 }),
    key: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 50 }),
    priority: fc.integer({ min: 0, max: 9 }),
    headers: fc.dictionary(fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}$/), anyText),
  },
  { requiredKeys: ['type', 'payload'] },
);

export const describeContent = (open: () => EventStore): void => {
  describe('content', () => {
    const orders = topicStream(aTopic('orders'));

    const roundTrip = async <Event extends StoredEvent>(stream: Stream<Event>, events: readonly Event[]) => {
      const [first] = await right(open().append(stream, events));
      const recorded = await right(open().read(stream, (first!.offset - 1) as Offset, events.length));
      return recorded.map(({ event }) => event);
    };

    for (const payload of DELICATE_PAYLOADS) {
      it(`keeps the payload ${JSON.stringify(payload.slice(0, 40))} byte for byte`, async () => {
        expect(await roundTrip(orders, [aMessage({ payload })])).to.deep.equal([aMessage({ payload })]);
      });
    }

    it('keeps every field of a message, and adds none', async () => {
      const full = aMessage({
        expiresAt: TEST_START + 1,
        key: 'käy "1"\n😀',
        priority: 0,
        headers: {
          traceparent: '00-ab-cd-01',
          'x-text': 'quo"te\nnew\tline \u001e\u001f\u0000 é 😀',
          empty: '',
        },
      });
      const bare = aMessage();
      expect(await roundTrip(orders, [full, bare, aMessage({ headers: {} })])).to.deep.equal([
        full,
        bare,
        aMessage({ headers: {} }),
      ]);
    });

    it('keeps any message', async () => {
      const property = fc.asyncProperty(
        fc.array(anyMessage, { minLength: 1, maxLength: 5 }),
        async (events) => {
          expect(await roundTrip(orders, events)).to.deep.equal(events);
        },
      );
      await fc.assert(property, { numRuns: 100 });
    });

    it('keeps what a topic has lost', async () => {
      const between = { from: aCursor(1), to: aCursor(5) };
      const events = [
        aMessage(),
        { type: 'MessagesLost', reason: 'storage_rollback' },
        { type: 'MessagesLost', reason: 'stream_reset', between },
        aMessage({ key: 'k' }),
      ] as const;
      expect(await roundTrip(orders, events)).to.deep.equal(events);
    });

    it('keeps every event of a subscription', async () => {
      const events = everySubscriptionEvent();
      expect(await roundTrip(subscriptionStream(anIdentity()), events)).to.deep.equal(events);
    });

    it('keeps the streams of two topics apart', async () => {
      const invoices = topicStream(aTopic('invoices'));
      await roundTrip(orders, [aMessage({ payload: '1' })]);
      await roundTrip(invoices, [aMessage({ payload: '2' })]);
      await roundTrip(orders, [aMessage({ payload: '3' })]);
      const read = await right(open().read(orders, NO_OFFSET, 10));
      expect(read.map(({ n, event }) => [n, payloadOf(event)])).to.deep.equal([
        [1, '1'],
        [2, '3'],
      ]);
    });

    it('keeps the subscriptions of any two principals apart, whatever they are called', async () => {
      const principals = [
        'jwt:alice',
        'jwt:bob',
        'jwt:a/b c%é',
        'jwt:a%2Fb c%é',
        'jwt:a',
        'jwt:a/b',
        'key:😀',
        'jwt:{x}',
      ];
      const streams = [
        ...principals.map((principal) => subscriptionStream(anIdentity({ principal, clientId: 'phone' }))),
        subscriptionStream(anIdentity({ principal: 'jwt:alice', clientId: 'laptop' })),
        topicStream(aTopic('phone')),
      ];
      for (const [i, stream] of streams.entries()) {
        const event =
          stream.kind === 'topic'
            ? aMessage({ payload: String(i) })
            : ({ type: 'SessionStarted', session: String(i) } as const);
        await right(open().append<StoredEvent>(stream, [event], { expected: BEGINNING }));
        const read = await right(open().read<StoredEvent>(stream, NO_OFFSET, 10));
        expect(read.map(({ event }) => event)).to.deep.equal([event]);
      }
    });
  });
};
