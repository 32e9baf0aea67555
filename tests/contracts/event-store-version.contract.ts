/** Optimistic concurrency: of all who append after the same event, one wins and the others are told. */
import { expect } from 'chai';
import { subscriptionStream, type EventStore } from '../../application/ports/event-store.js';
import { BEGINNING, NO_OFFSET, type Offset } from '../../domain/message/offset.js';
import { aCursor, anIdentity, someRetention } from '../support/builders.js';
import { left, right } from '../support/task-either.js';
import type { OpenEventStore } from './opened-store.js';

export const describeVersions = (current: () => EventStore, open: OpenEventStore): void => {
  describe('append with an expected end', () => {
    const journal = subscriptionStream(anIdentity());
    const readAll = () => right(current().read(journal, NO_OFFSET, 100));
    const started = (session: string) => [{ type: 'SessionStarted', session } as const];

    it('stores where the stream ends there, the beginning being where one ends that was never written', async () => {
      const [first] = await right(current().append(journal, started('a'), { expected: BEGINNING }));
      expect(first?.n).to.equal(1);
      const [second] = await right(current().append(journal, started('b'), { expected: first! }));
      expect(second?.n).to.equal(2);
    });

    it('refuses with the actual end and stores nothing where somebody else has appended', async () => {
      const [first] = await right(current().append(journal, started('a')));
      const [second] = await right(current().append(journal, started('b')));
      const refusal = await left(current().append(journal, started('c'), { expected: first! }));
      expect(refusal).to.deep.equal({ _tag: 'VersionConflict', actual: second });
      expect((await readAll()).map(({ event }) => event)).to.deep.equal([...started('a'), ...started('b')]);
    });

    it('refuses a place with another offset, and one with another number', async () => {
      const [end] = await right(current().append(journal, started('a')));
      const others = [
        { offset: (end!.offset + 1) as Offset, n: end!.n },
        { offset: (end!.offset - 1) as Offset, n: end!.n },
        { offset: end!.offset, n: end!.n + 1 },
        { offset: NO_OFFSET, n: end!.n },
        { offset: end!.offset, n: 0 },
      ];
      for (const expected of others) {
        const refusal = await left(current().append(journal, started('b'), { expected }));
        expect(refusal).to.deep.equal({ _tag: 'VersionConflict', actual: end });
      }
      expect(await readAll()).to.have.length(1);
    });

    it('refuses a place that a new stream has not reached', async () => {
      const refusal = await left(current().append(journal, started('a'), { expected: aCursor(1) }));
      expect(refusal).to.deep.equal({ _tag: 'VersionConflict', actual: BEGINNING });
      expect(await right(current().bounds(journal))).to.deep.equal({ first: BEGINNING, last: BEGINNING });
    });

    it('refuses in a stream that was lost and has grown to the same number again', async () => {
      const opened = await open(someRetention({ messagesMs: 60_000, subscriptionMs: 60_000 }));
      try {
        const { store } = opened;
        await right(store.append(journal, started('a')));
        const [known] = await right(store.append(journal, started('b')));
        await opened.lose(journal);
        expect(await left(store.append(journal, started('x'), { expected: known! }))).to.deep.equal({
          _tag: 'VersionConflict',
          actual: BEGINNING,
        });
        await right(store.append(journal, started('c'), { expected: BEGINNING }));
        const [regrown] = await right(store.append(journal, started('d')));
        expect(regrown!.n).to.equal(known!.n);
        const refusal = await left(store.append(journal, started('e'), { expected: known! }));
        expect(refusal).to.deep.equal({ _tag: 'VersionConflict', actual: regrown });
        const stored = await right(store.read(journal, NO_OFFSET, 100));
        expect(stored.map(({ event }) => event)).to.deep.equal([...started('c'), ...started('d')]);
      } finally {
        await opened.close();
      }
    });

    it('lets exactly one of many win', async () => {
      const racers = Array.from({ length: 20 }, (_, i) =>
        current().append(journal, started(`s${i}`), { expected: BEGINNING })(),
      );
      const winners = (await Promise.all(racers)).filter(({ _tag }) => _tag === 'Right');
      expect(winners).to.have.length(1);
      expect(await readAll()).to.have.length(1);
    });

    it('conflicts after a trim as before: what was forgotten still counts', async () => {
      const [cursor] = await right(current().append(journal, started('a')));
      await right(current().trim(journal, (cursor!.offset + 1) as Offset));
      const refusal = await left(current().append(journal, started('b'), { expected: BEGINNING }));
      expect(refusal).to.deep.equal({ _tag: 'VersionConflict', actual: cursor });
      expect(await right(current().append(journal, started('b'), { expected: cursor! }))).to.have.length(1);
    });
  });
};
