/** A poll that goes on from what its instance saw last, and what becomes of it where that is not so any more. */
import { expect } from 'chai';
import { Caller, type PollAnswer } from '../../application/poll-messages.js';
import { subscriptionStream } from '../../application/ports/event-store.js';
import {
  anInstance,
  Backend,
  identityOf,
  idsOf,
  payloadsOf,
  type Instance,
  type WantedPoll,
} from '../support/instance.js';
import { settle } from '../support/settle.js';
import { right } from '../support/task-either.js';
import { isCommit } from '../support/unreliable-store.js';

describe('A poll that is recalled', () => {
  let backend: Backend;
  let here: Instance;
  let elsewhere: Instance;

  beforeEach(async () => {
    backend = new Backend();
    here = anInstance(backend);
    elsewhere = anInstance(backend);
    await here.poll();
  });

  /** Begins to poll; what it was answered, if it was. */
  const waiting = (wanted: WantedPoll = {}, caller = new Caller()): (() => PollAnswer | undefined) => {
    let answer: PollAnswer | undefined;
    void here.poll({ timeoutMs: 60_000, ...wanted }, caller).then((given) => (answer = given));
    return () => answer;
  };

  const attempts = (answer: PollAnswer | undefined) => answer?.messages.map(({ attempt }) => attempt);

  it('reads no journal, and is answered what comes', async () => {
    here.store.read = () => expect.fail('was read');
    const answer = waiting();
    await settle();
    await backend.publish('orders', 'a');
    expect(payloadsOf(answer()!)).to.deep.equal(['a']);
  });

  it('is given what was given back elsewhere while signals were missed, as soon as that is known', async () => {
    await backend.publish('orders', 'a');
    const given = await here.poll({ timeoutMs: 1_000 });
    here.signals.isCut = true;
    await right(elsewhere.settle({ type: 'Reject', ids: idsOf(given), delayMs: 0 }));
    const answer = waiting();
    await backend.pass(1_000);
    expect(answer()).to.be.undefined;
    here.signals.mend();
    await settle();
    expect(attempts(answer())).to.deep.equal([2]);
  });

  it('goes on waiting where signals were missed and the storage is still away, and looks again', async () => {
    await backend.publish('orders', 'a');
    const given = await here.poll({ timeoutMs: 1_000 });
    here.signals.isCut = true;
    await right(elsewhere.settle({ type: 'Reject', ids: idsOf(given), delayMs: 0 }));
    const answer = waiting();
    await settle();
    here.store.fault = () => 'not_stored';
    here.signals.mend();
    await backend.pass(3_000);
    expect(answer()).to.be.undefined;
    here.store.fault = () => undefined;
    await backend.pass(2_000);
    expect(attempts(answer())).to.deep.equal([2]);
  });

  it('misses nothing that came since it began where its subscription was lost before that', async () => {
    await backend.publish('orders', 'before');
    await here.poll({ timeoutMs: 1_000 });
    backend.replaceJournal(subscriptionStream(identityOf({})), []);
    const answer = waiting();
    await backend.pass(500);
    await backend.publish('orders', 'a');
    expect(payloadsOf(answer()!)).to.deep.equal(['a']);
    expect(answer()?.isNewSubscription).to.be.true;
    expect(payloadsOf(await here.poll())).to.deep.equal([]);
  });

  it('is given at once what the one before it gave back, whose client had hung up', async () => {
    const caller = new Caller();
    const first = waiting({}, caller);
    await settle();
    let isHeld = false;
    const release = here.store.hold((call, way) => {
      const isFirst = !isHeld && way === 'from' && isCommit(call);
      isHeld ||= isFirst;
      return isFirst;
    });
    await backend.publish('orders', 'a');
    caller.hangUp();
    const second = waiting();
    await settle();
    expect(second()).to.be.undefined;
    release();
    await settle();
    await settle();
    expect(first()?.messages).to.deep.equal([]);
    expect(attempts(second())).to.deep.equal([2]);
  });
});
