/** Optimistic concurrency: of all who append after the same event, one wins and the others are told. */
import { expect } from 'chai';
import { subscriptionStream, type EventStore } from '../../application/ports/event-store.js';
import { BEGINNING, NO_OFFSET, type Offset } from '../../domain/message/offset.js';
import { anIdentity } from '../support/builders.js';
import { left, right } from '../support/task-either.js';

export const describeVersions = (open: () => EventStore): void => {
  describe('append with an expected version', () => {
    const journal = subscriptionStream(anIdentity());
    const readAll = () => right(open().read(journal, NO_OFFSET, 100));
    const started = (session: string) => [{ type: 'SessionStarted', session } as const];

    it('stores where the stream is at that version, 0 being a stream that was never written', async () => {
      const [first] = await right(open().append(journal, started('a'), { expected: 0 }));
      expect(first?.n).to.equal(1);
      const [second] = await right(open().append(journal, started('b'), { expected: 1 }));
      expect(second?.n).to.equal(2);
    });

    it('refuses with the actual version and stores nothing where somebody else has appended', async () => {
      await right(open().append(journal, started('a')));
      await right(open().append(journal, started('b')));
      const refusal = await left(open().append(journal, started('c'), { expected: 1 }));
      expect(refusal).to.deep.equal({ _tag: 'VersionConflict', actual: 2 });
      expect((await readAll()).map(({ event }) => event)).to.deep.equal([...started('a'), ...started('b')]);
    });

    it('refuses a version that a new stream has not reached', async () => {
      const refusal = await left(open().append(journal, started('a'), { expected: 1 }));
      expect(refusal).to.deep.equal({ _tag: 'VersionConflict', actual: 0 });
      expect(await right(open().bounds(journal))).to.deep.equal({ first: BEGINNING, last: BEGINNING });
    });

    it('lets exactly one of many win', async () => {
      const racers = Array.from({ length: 20 }, (_, i) =>
        open().append(journal, started(`s${i}`), { expected: 0 })(),
      );
      const winners = (await Promise.all(racers)).filter(({ _tag }) => _tag === 'Right');
      expect(winners).to.have.length(1);
      expect(await readAll()).to.have.length(1);
    });

    it('conflicts after a trim as before: what was forgotten still counts', async () => {
      const [cursor] = await right(open().append(journal, started('a')));
      await right(open().trim(journal, (cursor!.offset + 1) as Offset));
      expect(await left(open().append(journal, started('b'), { expected: 0 }))).to.include({ actual: 1 });
      expect(await right(open().append(journal, started('b'), { expected: 1 }))).to.have.length(1);
    });
  });
};
