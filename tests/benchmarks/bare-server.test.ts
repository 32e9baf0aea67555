/** The floor that the service is compared with; one that lost messages would be too low. */
import { expect } from 'chai';
import { measure } from '../../benchmarks/measure.js';
import { bare } from '../../benchmarks/peers/bare.js';
import { SCENARIOS } from '../../benchmarks/scenarios/registry.js';
import { DEFAULT_SIZES } from '../../benchmarks/sizes.js';

const SIZES = { ...DEFAULT_SIZES, subscribers: 10, topics: 20, polls: 20 };
const CORES = { service: undefined, valkey: undefined, generator: undefined };

describe('the peer that is Node itself', () => {
  for (const name of ['fan-out', 'topics', 'poll-one-topic', 'poll-many-topics']) {
    it(`delivers everything once and in order: ${name}`, async () => {
      const scenario = SCENARIOS.find((one) => one.name === name)!;
      const settings = { runs: 1, seconds: 0.2, sizes: SIZES, cores: CORES };
      const [measured] = await measure(scenario, bare, settings);
      expect(measured).to.include({ lost: 0, duplicated: 0, reordered: 0, failed: 0 });
      expect(measured!.count).to.be.above(0);
    }).timeout(60_000);
  }
});
