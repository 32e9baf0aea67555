/** How large the scenarios are. The defaults are what the published figures were measured with. */
import { PAYLOAD_BYTES_MIN } from './generator/payload.js';

export interface Sizes {
  /** Of every message, in all scenarios. */
  readonly payloadBytes: number;
  /** Sockets on the one topic of the fan-out. */
  readonly subscribers: number;
  /** Messages under way in the saturated fan-out. */
  readonly underWay: number;
  /** Messages per second of the light fan-out. */
  readonly lightPerSecond: number;
  /** Topics with one socket each. */
  readonly topics: number;
  /** Polls that are asked again as soon as they are answered. */
  readonly polls: number;
  /** Messages per second of the light long-poll. */
  readonly pollLightPerSecond: number;
  /** Messages that one subscriber catches up on. */
  readonly replayed: number;
  readonly idleSockets: number;
  readonly heldPolls: number;
  /** Sockets of the headline, each on a topic of its own. */
  readonly headlineSockets: number;
  readonly headlinePerSecond: number;
}

export const DEFAULT_SIZES: Sizes = {
  payloadBytes: 200,
  subscribers: 1_000,
  underWay: 64,
  lightPerSecond: 50,
  topics: 1_000,
  polls: 1_000,
  pollLightPerSecond: 5,
  replayed: 1_000_000,
  idleSockets: 12_000,
  heldPolls: 6_000,
  headlineSockets: 12_000,
  headlinePerSecond: 15_000,
};

/** To see that everything works; the figures mean nothing. */
export const QUICK_SIZES: Sizes = {
  ...DEFAULT_SIZES,
  subscribers: 200,
  topics: 200,
  polls: 200,
  replayed: 20_000,
  idleSockets: 1_000,
  heldPolls: 500,
  headlineSockets: 1_000,
  headlinePerSecond: 2_000,
};

const SIZE_MAX = 10_000_000;

/** What a size may be, from the least to the most. */
export const boundsOf = (name: keyof Sizes): readonly [min: number, max: number] => {
  switch (name) {
    case 'payloadBytes':
      // With what is around it, it has to fit into a frame with a length of 16 bits.
      return [PAYLOAD_BYTES_MIN, 60_000];
    case 'replayed':
      // The retention of a topic: what is published beyond it is trimmed, and could not be replayed.
      return [1, 1_000_000];
    default:
      return [1, SIZE_MAX];
  }
};

export const isSize = (name: string): name is keyof Sizes => Object.hasOwn(DEFAULT_SIZES, name);
