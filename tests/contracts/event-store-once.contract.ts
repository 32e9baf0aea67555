/** Appends that happen once, however often and by how many they are asked for. */
import { expect } from 'chai';
import {
  CATALOGUE,
  topicStream,
  type EventStore,
  type OnceItem,
  type OnceOutcome,
} from '../../application/ports/event-store.js';
import { NO_OFFSET, type Cursor, type Offset } from '../../domain/message/offset.js';
import type { TopicEvent } from '../../domain/topic/topic-events.js';
import { aMessage, aTopic, messages, someRetention } from '../support/builders.js';
import { payloadOf } from '../support/payload-of.js';
import { right } from '../support/task-either.js';
import type { OpenedStore, OpenEventStore } from './opened-store.js';

const WINDOW_MS = 60_000;

/** An item whose payload is `payload`; without a key it is stored as by any append. */
const item = (payload: string, key?: string, fingerprint = payload): OnceItem<TopicEvent> => ({
  event: aMessage({ payload }),
  ...(key === undefined ? {} : { once: { key, fingerprint, windowMs: WINDOW_MS } }),
});

const tags = (outcomes: readonly OnceOutcome[]): readonly string[] => outcomes.map(({ _tag }) => _tag);

const placeOf = (outcome: OnceOutcome | undefined): Cursor => {
  if (outcome === undefined || outcome._tag === 'KeyReused') throw new Error('has no place');
  return outcome.at;
};

export const describeOnce = (opened: () => OpenedStore, open: OpenEventStore): void => {
  describe('appendOnce', () => {
    const orders = topicStream(aTopic('orders'));
    const current = (): EventStore => opened().store;
    const once = (...items: readonly OnceItem<TopicEvent>[]) => right(current().appendOnce(orders, items));
    const stored = async () => {
      const recorded = await right(current().read(orders, NO_OFFSET, 1_000));
      return recorded.map(({ event }) => payloadOf(event));
    };

    it('stores what is asked for under a new key', async () => {
      const [outcome] = await once(item('1', 'a'));
      const [recorded] = await right(current().read(orders, NO_OFFSET, 10));
      expect(outcome).to.deep.equal({ _tag: 'Stored', at: { offset: recorded!.offset, n: 1 } });
      expect(payloadOf(recorded!.event)).to.equal('1');
    });

    it('answers the same again with the place of the first time, and stores nothing', async () => {
      const [first] = await once(item('1', 'a'));
      await right(current().append(orders, messages(3, 2)));
      for (let i = 0; i < 3; i++) {
        expect(await once(item('1', 'a'))).to.deep.equal([{ _tag: 'Duplicate', at: placeOf(first) }]);
      }
      expect(await stored()).to.deep.equal(['1', '2', '3', '4']);
    });

    it('refuses the key for anything else, and goes on knowing what it was used for', async () => {
      await once(item('1', 'a'));
      expect(await once(item('2', 'a'))).to.deep.equal([{ _tag: 'KeyReused' }]);
      expect(tags(await once(item('1', 'a')))).to.deep.equal(['Duplicate']);
      expect(await stored()).to.deep.equal(['1']);
    });

    it('answers for each item in order, and stores those that are new in one piece', async () => {
      await once(item('1', 'a'), item('2', 'b'));
      const outcomes = await once(
        item('3', 'c'),
        item('1', 'a'),
        item('4'),
        item('x', 'b'),
        item('5', 'd'),
        item('4'),
      );
      expect(tags(outcomes)).to.deep.equal([
        'Stored',
        'Duplicate',
        'Stored',
        'KeyReused',
        'Stored',
        'Stored',
      ]);
      expect(await stored()).to.deep.equal(['1', '2', '3', '4', '5', '4']);
      const recorded = await right(current().read(orders, NO_OFFSET, 10));
      const places = [outcomes[0], outcomes[2], outcomes[4], outcomes[5]].map(placeOf);
      expect(places).to.deep.equal(recorded.slice(2).map(({ offset, n }) => ({ offset, n })));
    });

    it('treats two items with one key like two calls', async () => {
      const [first, second, third, fourth] = await once(
        item('1', 'a'),
        item('1', 'a'),
        item('2', 'a'),
        item('3', 'b'),
      );
      expect(tags([first!, second!, third!, fourth!])).to.deep.equal([
        'Stored',
        'Duplicate',
        'KeyReused',
        'Stored',
      ]);
      expect(placeOf(second)).to.deep.equal(placeOf(first));
      expect(await stored()).to.deep.equal(['1', '3']);
      expect(await once(item('1', 'a'))).to.deep.equal([{ _tag: 'Duplicate', at: placeOf(first) }]);
    });

    it('goes by the fingerprint, not by the event', async () => {
      await once(item('1', 'a', 'same'));
      expect(tags(await once(item('2', 'a', 'same')))).to.deep.equal(['Duplicate']);
    });

    it('keeps any two keys and any two fingerprints apart', async () => {
      const texts = [
        'a',
        'A',
        'a b',
        'a\nb',
        'a\u0000b',
        'a%20b',
        'a:b',
        'a%3Ab',
        '{a}',
        '*',
        'é',
        '😀',
        ' ',
      ];
      for (const [i, text] of texts.entries()) {
        expect(tags(await once(item(String(i), text, text))), text).to.deep.equal(['Stored']);
      }
      for (const [i, text] of texts.entries()) {
        expect(tags(await once(item(String(i), text, text))), text).to.deep.equal(['Duplicate']);
        expect(tags(await once(item(String(i), text, `${text}\n1 2`))), text).to.deep.equal(['KeyReused']);
      }
    });

    it('takes a key of 512 characters', async () => {
      const key = '漢'.repeat(511);
      expect(tags(await once(item('1', `${key}1`), item('2', `${key}2`)))).to.deep.equal([
        'Stored',
        'Stored',
      ]);
    });

    it('lets one of many who ask at the same time store it, and answers all with its place', async () => {
      const answers = await Promise.all(Array.from({ length: 30 }, () => once(item('1', 'a'))));
      const outcomes = answers.flat();
      expect(tags(outcomes).filter((tag) => tag === 'Stored')).to.have.length(1);
      expect(tags(outcomes).filter((tag) => tag === 'Duplicate')).to.have.length(29);
      expect(new Set(outcomes.map((outcome) => placeOf(outcome).offset)).size).to.equal(1);
      expect(await stored()).to.deep.equal(['1']);
    });

    it('keeps the order of what is appended to a stream at the same time, with a key or without', async () => {
      await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          i % 3 === 1
            ? once(item(String(i), `k${i}`))
            : right(current().append(orders, [aMessage({ payload: String(i) })])),
        ),
      );
      expect(await stored()).to.deep.equal(Array.from({ length: 40 }, (_, i) => String(i)));
    });

    it('remembers a key although what was stored under it has been trimmed', async () => {
      const [first] = await once(item('1', 'a'));
      await right(current().trim(orders, (placeOf(first).offset + 1) as Offset));
      expect(await once(item('1', 'a'))).to.deep.equal([{ _tag: 'Duplicate', at: placeOf(first) }]);
    });

    it('forgets a key when its window is over, and not before', async () => {
      const windowMs = 300;
      const brief = { event: aMessage(), once: { key: 'brief', fingerprint: 'f', windowMs } };
      const long = item('1', 'long');
      await once(brief, long);
      await opened().pass(windowMs + 50);
      expect(tags(await once(brief, long))).to.deep.equal(['Stored', 'Duplicate']);
    });

    it('takes a window that is not a whole number of milliseconds', async () => {
      const odd = { event: aMessage(), once: { key: 'odd', fingerprint: 'f', windowMs: 59_999.5 } };
      expect(tags(await once(odd))).to.deep.equal(['Stored']);
      expect(tags(await once(odd))).to.deep.equal(['Duplicate']);
    });

    it('records a new topic in the catalogue, once, and none where nothing is stored', async () => {
      await once(item('1', 'a'));
      await once(item('1', 'a'), item('2', 'b'));
      const invoices = topicStream(aTopic('invoices'));
      expect(tags(await right(current().appendOnce(invoices, [item('1', 'a')])))).to.deep.equal([
        'Duplicate',
      ]);
      const created = await right(current().read(CATALOGUE, NO_OFFSET, 10));
      expect(created.map(({ event }) => event.topic)).to.deep.equal(['orders']);
    });

    it('keeps no more of a topic than any append does', async () => {
      const small = await open(someRetention({ messagesPerTopicMax: 200 }));
      try {
        for (let i = 0; i < 10; i++) {
          const items = Array.from({ length: 100 }, (_, k) => item('1', `${i}.${k}`));
          await right(small.store.appendOnce(orders, items));
        }
        const { first, last } = await right(small.store.bounds(orders));
        expect(last.n).to.equal(1_000);
        expect(last.n - first.n).to.be.within(200, 400);
      } finally {
        await small.close();
      }
    });
  });
};
