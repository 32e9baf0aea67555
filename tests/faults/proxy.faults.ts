/** What becomes of the promises when it is proxies that die, freeze or restart. */
import { expect } from 'chai';
import type { Failpoint } from './failpoint.js';
import { scenario } from './scenario.js';
import { pause } from './world.js';

/** Where a proxy dies, and what its users are promised all the same. */
const FAILPOINTS: readonly (readonly [string, Omit<Failpoint, 'nth'>])[] = [
  [
    'after a message was stored and before its producer is told',
    { when: 'after', event: 'MessagePublished' },
  ],
  ['before a message is stored', { when: 'before', event: 'MessagePublished' }],
  ['after a delivery was recorded and before it is sent', { when: 'after', event: 'MessagesDispatched' }],
  ['before the acknowledgements of a socket are recorded', { when: 'before', event: 'PositionCommitted' }],
  [
    'after the acknowledgements of a socket are recorded and before they are confirmed',
    { when: 'after', event: 'PositionCommitted' },
  ],
];

describe('when a proxy', () => {
  for (const [where, failpoint] of FAILPOINTS) {
    scenario(`dies ${where}, everything is kept that is promised`, {}, async ({ installation, random }) => {
      for (let round = 0; round < 4; round++) {
        const slot = random.pick(installation.slots);
        await slot.stop();
        await slot.startFailing({ ...failpoint, nth: random.whole(1, 20) });
        await slot.ended();
        await slot.start();
      }
    });
  }

  scenario(
    'is frozen until all that it had given out is due again, and thaws, nothing stale is recorded',
    { installation: { proxies: 3 } },
    async ({ installation, workload }) => {
      for (const slot of installation.slots.slice(0, 2)) {
        await workload.runFor(2_000);
        slot.freeze();
        await pause(12_000);
        slot.thaw();
      }
    },
  );

  scenario(
    'after the other is restarted under load, no publish fails and every acknowledgement holds',
    { installation: { proxies: 3 } },
    async ({ installation, workload }) => {
      for (const slot of installation.slots) {
        await workload.runFor(1_500);
        expect(await slot.stop(), `the exit code of ${slot.name}`).to.equal(0);
        await slot.start();
        await slot.isReady();
      }
      const outcomes = workload.history.publishes.map(({ outcome }) => outcome);
      expect(outcomes, 'whoever is told to stop answers what it has begun').to.not.include('unknown');
    },
  );
});
