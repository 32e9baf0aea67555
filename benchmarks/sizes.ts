/** How large the scenarios are. The defaults are what the published figures were measured with. */
export interface Sizes {
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
  /** Messages that one subscriber catches up on. */
  readonly replayed: number;
  readonly idleSockets: number;
  readonly heldPolls: number;
  /** Sockets of the headline, each on a topic of its own. */
  readonly headlineSockets: number;
  readonly headlinePerSecond: number;
}

export const DEFAULT_SIZES: Sizes = {
  subscribers: 1_000,
  underWay: 64,
  lightPerSecond: 50,
  topics: 1_000,
  polls: 1_000,
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

/** The retention of a topic: what is published beyond it is trimmed, and could not be replayed. */
export const REPLAYED_MAX = 1_000_000;

export const isSize = (name: string): name is keyof Sizes => Object.hasOwn(DEFAULT_SIZES, name);
