import { expect } from 'chai';
import { TokenExpiries } from '../../../interfaces/websocket/token-expiries.js';
import type { Instant } from '../../../domain/time.js';
import { ManualClock } from '../../support/manual-clock.js';

/** Clients whose tokens end at given instants, and who has been sent away, and when. */
const installation = () => {
  const clock = new ManualClock();
  const start = clock.now();
  const clients = new Map<string, { expiresAt: Instant | undefined; leave: () => void }>();
  const left: (readonly [string, number])[] = [];
  const expiries = new TokenExpiries(clock, () => clients.values());
  const leave = (name: string): void => {
    left.push([name, clock.now() - start]);
    clients.delete(name);
  };
  const come = (name: string, afterMs: number | undefined): void => {
    const expiresAt = afterMs === undefined ? undefined : start + afterMs;
    clients.set(name, { expiresAt, leave: () => leave(name) });
    if (expiresAt !== undefined) expiries.watch(expiresAt);
  };
  return { clock, clients, left, expiries, come };
};

describe('TokenExpiries', () => {
  it('sends everybody away at the instant at which their token is over, in whichever order they came', () => {
    const { clock, left, come } = installation();
    for (const [name, afterMs] of [
      ['c', 3000],
      ['a', 1000],
      ['d', 4000],
      ['b', 2000],
      ['also b', 2000],
    ] as const) {
      come(name, afterMs);
    }
    clock.advance(2500);
    expect(left).to.deep.equal([
      ['a', 1000],
      ['b', 2000],
      ['also b', 2000],
    ]);
    come('e', 3500);
    clock.advance(10_000);
    expect(left.slice(3)).to.deep.equal([
      ['c', 3000],
      ['e', 3500],
      ['d', 4000],
    ]);
    expect(clock.waiting).to.equal(0);
  });

  it('sends nobody away who has left or has a newer token, and goes on with the others', () => {
    const { clock, clients, left, come } = installation();
    come('left', 1000);
    come('renewed', 1000);
    come('stays', undefined);
    come('other', 1500);
    clients.delete('left');
    come('renewed', 5000);
    clock.advance(4_999);
    expect(left).to.deep.equal([['other', 1500]]);
    clock.advance(1);
    expect(left.slice(1)).to.deep.equal([['renewed', 5000]]);
    expect(clock.waiting).to.equal(0);
  });

  it('sends away at once whose token is over already', () => {
    const { clock, left, come } = installation();
    come('late', -5);
    clock.advance(0);
    expect(left).to.deep.equal([['late', 0]]);
  });

  it('has one timer, and none when it is stopped', () => {
    const { clock, left, expiries, come } = installation();
    for (let i = 100; i > 0; i--) come(`client ${i}`, i * 10);
    expect(clock.waiting).to.equal(1);
    expiries.stop();
    expect(clock.waiting).to.equal(0);
    clock.advance(10_000);
    expect(left).to.deep.equal([]);
  });
});
