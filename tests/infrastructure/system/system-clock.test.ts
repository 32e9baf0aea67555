import { expect } from 'chai';
import sinon from 'sinon';
import { SystemClock } from '../../../infrastructure/system/system-clock.js';

const DAY_MS = 86_400_000;

describe('SystemClock', () => {
  let time: sinon.SinonFakeTimers;
  beforeEach(() => (time = sinon.useFakeTimers()));
  afterEach(() => time.restore());

  const clock = new SystemClock();

  it('tells the time', () => {
    time.tick(1_234);
    expect(clock.now()).to.equal(1_234);
  });

  it('calls once, after the delay', () => {
    const task = sinon.spy();
    clock.after(1_000, task);
    time.tick(999);
    expect(task.callCount).to.equal(0);
    time.tick(1);
    time.tick(5_000);
    expect(task.callCount).to.equal(1);
  });

  it('does not call after it was cancelled, and may be cancelled twice', () => {
    const task = sinon.spy();
    const cancel = clock.after(1_000, task);
    cancel();
    cancel();
    time.tick(2_000);
    expect(task.callCount).to.equal(0);
  });

  it('waits for longer than a timer of Node can hold', () => {
    const task = sinon.spy();
    clock.after(100 * DAY_MS, task);
    time.tick(100 * DAY_MS - 1);
    expect(task.callCount).to.equal(0);
    time.tick(1);
    expect(task.callCount).to.equal(1);
  });

  it('can be cancelled in the middle of a long wait', () => {
    const task = sinon.spy();
    const cancel = clock.after(100 * DAY_MS, task);
    time.tick(60 * DAY_MS);
    cancel();
    time.tick(60 * DAY_MS);
    expect(task.callCount).to.equal(0);
  });
});
