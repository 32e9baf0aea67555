/**
 * What goes wrong, one thing at a time. Each fault leaves the installation whole: what it stopped runs again, what it
 * cut is joined. Whether the service is well again is for the scenario to ask.
 */
import type { Random } from '../support/random.js';
import type { Scene } from './scenario.js';
import { pause } from './world.js';

export type Fault = keyof typeof FAULTS;

type Break = (scene: Scene) => Promise<void>;

const SOME_MS = { min: 200, max: 1_500 };

const someMs = (random: Random, { min, max } = SOME_MS): number => random.whole(min, max);

export const FAULTS = {
  /** kill -9 of a proxy, which is started again somewhat later. */
  kill_proxy: async ({ installation, random }) => {
    const slot = random.pick(installation.slots);
    await slot.kill();
    await pause(someMs(random));
    await slot.start();
  },
  /** What an orchestrator does to every proxy at every release. */
  terminate_proxy: async ({ installation, random }) => {
    const slot = random.pick(installation.slots);
    const code = await slot.stop();
    if (code !== 0) throw new Error(`a proxy that was told to stop ended with ${String(code)}`);
    await slot.start();
  },
  freeze_proxy: async ({ installation, random }) => {
    const slot = random.pick(installation.slots);
    slot.freeze();
    await pause(someMs(random, { min: 1_000, max: 4_000 }));
    slot.thaw();
  },
  kill_valkey: async ({ installation, random }) => {
    await installation.valkey.kill();
    await pause(someMs(random));
    await installation.valkey.restart();
  },
  freeze_valkey: async ({ installation, random }) => {
    installation.valkey.freeze();
    await pause(someMs(random, { min: 1_000, max: 4_000 }));
    installation.valkey.thaw();
  },
  /** Every connection to Valkey is reset, of one proxy or of all. */
  cut: ({ installation, random }) => {
    const slots = random.chance(0.5) ? installation.slots : [random.pick(installation.slots)];
    for (const { network } of slots) network.cut();
    return Promise.resolve();
  },
  /** Valkey does what it is asked, and nobody learns it. */
  cut_replies: async ({ installation, random }) => {
    const { network } = random.pick(installation.slots);
    network.cutReplies(random.whole(1, 5));
    await pause(someMs(random, { min: 1_000, max: 2_000 }));
    await network.heal();
  },
  black_hole: async ({ installation, random }) => {
    const slots = random.chance(0.5) ? installation.slots : [random.pick(installation.slots)];
    await Promise.all(slots.map(({ network }) => network.become({ type: 'blackHole' })));
    await pause(someMs(random, { min: 1_000, max: 6_000 }));
    await Promise.all(slots.map(({ network }) => network.heal()));
  },
  refuse: async ({ installation, random }) => {
    const { network } = random.pick(installation.slots);
    await network.become({ type: 'refuse' });
    await pause(someMs(random));
    await network.heal();
  },
  slow: async ({ installation, random }) => {
    await installation.networksBecome({ type: 'delay', delayMs: 100, jitterMs: 100 });
    await pause(someMs(random, { min: 1_000, max: 3_000 }));
    await installation.networksBecome({ type: 'pass' });
  },
  kill_pubsub: async ({ installation }) => {
    await installation.asAdmin((admin) => admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'));
  },
  /** One proxy dies while Valkey does not answer it. */
  kill_proxy_while_frozen: async ({ installation, random }) => {
    const slot = random.pick(installation.slots);
    installation.valkey.freeze();
    await pause(500);
    await slot.kill();
    await slot.start();
    installation.valkey.thaw();
  },
} satisfies Record<string, Break>;

/** These faults in this order, with a little peace after each. */
export const shake = async (scene: Scene, faults: readonly Fault[]): Promise<void> => {
  for (const fault of faults) {
    await pause(someMs(scene.random));
    await FAULTS[fault](scene);
  }
};
