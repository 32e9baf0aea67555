/** The short round of the fault suite that every test run includes. The long one: npm run test:faults. */
import { shake } from './nemesis.js';
import { scenario } from './scenario.js';

describe('under faults, in short', () => {
  scenario(
    'everything is kept that is promised, through one fault after the other',
    { seed: 1 },
    async (scene) => {
      await shake(scene, [
        'kill_proxy',
        'cut',
        'kill_valkey',
        'cut_replies',
        'terminate_proxy',
        'freeze_proxy',
        'kill_pubsub',
      ]);
    },
  );
});
