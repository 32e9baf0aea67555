import { expect } from 'chai';
import fc from 'fast-check';
import { LinkedList, type Linked } from '../../application/linked-list.js';

class Member implements Linked<Member> {
  next: Member | undefined;
  previous: Member | undefined;

  constructor(readonly name: number) {}
}

const visited = (list: LinkedList<Member>, onVisit: (member: Member) => void = () => undefined): number[] => {
  const names: number[] = [];
  list.forEach((member) => {
    names.push(member.name);
    onVisit(member);
  });
  return names;
};

describe('LinkedList', () => {
  it('holds what a Set would hold, in the same order, whoever comes and goes', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 9 }), { maxLength: 60 }), (steps) => {
        const list = new LinkedList<Member>();
        const members = Array.from({ length: 10 }, (_, i) => new Member(i));
        const model = new Set<number>();
        for (const name of steps) {
          const member = members[name]!;
          if (model.delete(name)) list.remove(member);
          else {
            model.add(name);
            list.add(member);
          }
          expect(visited(list)).to.deep.equal([...model]);
          expect(list.isEmpty).to.equal(model.size === 0);
        }
        expect(visited(list, (member) => list.remove(member))).to.deep.equal([...model]);
        expect(visited(list)).to.deep.equal([]);
        // Who has left holds on to nobody.
        for (const { next, previous } of members)
          expect([next, previous]).to.deep.equal([undefined, undefined]);
      }),
    );
  });

  it('visits nobody who has left meanwhile, and everybody else', () => {
    fc.assert(
      fc.property(fc.nat({ max: 5 }), fc.uniqueArray(fc.nat({ max: 5 })), (at, leaving) => {
        const list = new LinkedList<Member>();
        const members = Array.from({ length: 6 }, (_, i) => new Member(i));
        for (const member of members) list.add(member);
        const names = visited(list, (member) => {
          if (member.name === at) for (const name of leaving) list.remove(members[name]!);
        });
        expect(names).to.deep.equal(
          [0, 1, 2, 3, 4, 5].filter((name) => name <= at || !leaving.includes(name)),
        );
        expect(visited(list)).to.deep.equal([0, 1, 2, 3, 4, 5].filter((name) => !leaving.includes(name)));
      }),
    );
  });
});
