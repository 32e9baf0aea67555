/**
 * What every JournalSignals promises, whatever it is made of. An adapter's test file opens instances that can hear each
 * other and calls `describeJournalSignals`. What happens to a signal on a broken connection is tested with the adapter
 * that has one.
 */
import { expect } from 'chai';
import type { JournalSignals } from '../../application/ports/journal-signals.js';
import type { Identity } from '../../domain/subscription/client-id.js';
import { anIdentity } from '../support/builders.js';
import { eventually } from '../support/eventually.js';

export interface OpenedSignals {
  /** One for each process; those of one process hear each other as well. */
  readonly instances: readonly [JournalSignals, ...JournalSignals[]];
  close(): Promise<void>;
}

/** Opens instances that hear each other, and that nobody else hears. */
export type OpenJournalSignals = () => Promise<OpenedSignals>;

type Heard = readonly [identity: Identity, by: string | undefined];

export const describeJournalSignals = (name: string, open: OpenJournalSignals): void => {
  describe(`${name} is JournalSignals`, () => {
    let opened: OpenedSignals;

    beforeEach(async () => (opened = await open()));
    afterEach(() => opened.close());

    const listen = (signals: JournalSignals): readonly Heard[] => {
      const heard: Heard[] = [];
      signals.onSignal((identity, by) => heard.push([identity, by]));
      return heard;
    };

    it('tells every instance, the one that has sent it too', async () => {
      const heard = opened.instances.map(listen);
      const expected: Heard[] = [];
      for (const [i, sender] of opened.instances.entries()) {
        const identity = anIdentity({ clientId: `phone-${i}` });
        sender.send(identity, `session-${i}`);
        expected.push([identity, `session-${i}`]);
        await eventually(() => heard.forEach((each) => expect(each).to.deep.equal(expected)));
      }
    });

    it('tells every listener of an instance', async () => {
      const [signals] = opened.instances;
      const [one, other] = [listen(signals), listen(signals)];
      signals.send(anIdentity(), 'a');
      for (const heard of [one, other]) {
        await eventually(() => expect(heard).to.deep.equal([[anIdentity(), 'a']]));
      }
    });

    it('tells that a request has written by not naming a session', async () => {
      const [signals] = opened.instances;
      const heard = listen(signals);
      signals.send(anIdentity(), undefined);
      await eventually(() => expect(heard).to.deep.equal([[anIdentity(), undefined]]));
    });

    it('keeps whatever a principal may be called', async () => {
      const [signals] = opened.instances;
      const heard = listen(signals);
      const identities = ['jwt:', 'jwt:a/b', 'key:"\\\n', 'jwt:ä €\u{1f642}', 'jwt:__proto__'].map(
        (principal) => anIdentity({ principal, clientId: 'a.B-c_1' }),
      );
      for (const identity of identities) signals.send(identity, undefined);
      await eventually(() => expect(heard.map(([identity]) => identity)).to.have.deep.members(identities));
    });

    it('calls nobody back while it is being told', async () => {
      const [signals] = opened.instances;
      const heard = listen(signals);
      signals.send(anIdentity(), 'a');
      expect(heard).to.deep.equal([]);
      await eventually(() => expect(heard).to.have.length(1));
    });

    it('sends what a listener sends', async () => {
      const [signals] = opened.instances;
      const heard = listen(signals);
      signals.onSignal((identity, by) => {
        if (by === 'a') signals.send(identity, 'b');
      });
      signals.send(anIdentity(), 'a');
      await eventually(() => expect(heard.map(([, by]) => by)).to.deep.equal(['a', 'b']));
    });
  });
};
