import { faultSeconds, scenario } from './scenario.js';
import { FAULTS, shake, type Fault } from './nemesis.js';

const NAMES = Object.keys(FAULTS) as Fault[];

describe('under faults', () => {
  scenario(
    'everything is kept that is promised, whatever happens in whatever order',
    { installation: { proxies: 3 }, timeoutMs: (faultSeconds(60) + 180) * 1000 },
    async (scene) => {
      const { workload, random } = scene;
      const endMs = workload.history.nowMs() + faultSeconds(60) * 1000;
      while (workload.history.nowMs() < endMs) {
        await shake(scene, [random.pick(NAMES)]);
        await workload.heal();
      }
    },
  );
});
