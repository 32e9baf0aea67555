import { expect } from 'chai';
import { policyOf } from '../../domain/delivery/delivery-policy.js';
import { positionAt, unacknowledged } from '../../domain/subscription/topic-position.js';
import { aCursor } from '../support/builders.js';

describe('A delivery policy', () => {
  const start = positionAt(aCursor(0));
  const cursors = [aCursor(1), aCursor(3)];

  describe('at least once', () => {
    const policy = policyOf('at_least_once');

    it('sends first: what is recorded is the acknowledgement', () => {
      expect(policy.recordsBeforeSend).to.be.false;
    });

    it('waits for what was given, and for nothing else up to there', () => {
      const position = policy.dispatched(start, aCursor(3), cursors, 1, 500);
      expect(position.next).to.deep.equal(aCursor(3));
      expect(position.inFlight).to.deep.equal([{ cursors, from: 0, attempt: 1, deadline: 500 }]);
      expect(unacknowledged(position)).to.equal(2);
    });

    it('holds on to the cursors it was given, without a copy', () => {
      expect(policy.dispatched(start, aCursor(3), cursors, 1, 500).inFlight[0]?.cursors).to.equal(cursors);
    });

    it('takes what is given again off what is due', () => {
      const due = [{ cursor: aCursor(1), attempt: 2, notBefore: 0 }];
      const position = policy.dispatched(
        { ...positionAt(aCursor(5)), due },
        aCursor(5),
        [aCursor(1)],
        2,
        900,
      );
      expect(position).to.deep.include({ next: aCursor(5), due: [], inFlightCount: 1 });
    });
  });

  describe('at most once', () => {
    const policy = policyOf('at_most_once');

    it('records first: what is recorded is never sent again', () => {
      expect(policy.recordsBeforeSend).to.be.true;
    });

    it('waits for nothing', () => {
      const position = policy.dispatched(start, aCursor(3), cursors, 1, 500);
      expect(position).to.deep.equal(positionAt(aCursor(3)));
    });

    it('never moves back', () => {
      const ahead = positionAt(aCursor(9));
      expect(policy.dispatched(ahead, aCursor(3), cursors, 1, 500)).to.deep.equal(ahead);
    });
  });

  it('is known for each guarantee, and for nothing else', () => {
    expect(() => policyOf('exactly_once' as never)).to.throw('exactly_once');
  });
});
