/**
 * When the next message is published. At a fixed rate one sees latency; in a closed loop, where the next message is
 * published when the ones before have arrived everywhere, what one core can do without queues that hide it.
 */
import type { Publisher } from '../generator/publisher.js';

export type Pace =
  /** As many messages under way as this, and never more. */
  | { readonly underWay: number }
  /** Messages per second, whatever happens to the ones before. */
  | { readonly perSecond: number };

export interface Pacer {
  start(): void;
  stop(): void;
  /** Something has arrived or was answered: there may be room for more. */
  pump(): void;
}

/** `arrived`: how many messages have arrived at everybody. */
export const makePacer = (pace: Pace, publisher: Publisher, arrived: () => number): Pacer =>
  'perSecond' in pace
    ? fixedRate(publisher, pace.perSecond)
    : closedLoop(publisher, arrived, Math.max(pace.underWay, publisher.batch));

const closedLoop = (publisher: Publisher, arrived: () => number, underWay: number): Pacer => {
  let isOn = false;
  const pump = (): void => {
    while (isOn && publisher.hasFreeLane && publisher.sent + publisher.batch - underWay <= arrived()) {
      publisher.publish(performance.now());
    }
  };
  return {
    start: () => {
      isOn = true;
      pump();
    },
    stop: () => (isOn = false),
    pump,
  };
};

/**
 * Messages are stamped with the time at which they were due, not with the one at which they were sent: a service that
 * makes the generator late must not look faster for it ("coordinated omission"). What is due while no connection is
 * free is sent when one is.
 */
const fixedRate = (publisher: Publisher, perSecond: number): Pacer => {
  const intervalMs = (1000 * publisher.batch) / perSecond;
  let timer: NodeJS.Timeout | undefined;
  let isOn = false;
  let dueAt = 0;
  const pump = (): void => {
    const now = performance.now();
    for (; isOn && dueAt <= now && publisher.hasFreeLane; dueAt += intervalMs) publisher.publish(dueAt);
  };
  const tick = (): void => {
    pump();
    timer = setTimeout(tick, dueAt - performance.now());
  };
  return {
    start: () => {
      isOn = true;
      dueAt = performance.now();
      tick();
    },
    stop: () => {
      isOn = false;
      clearTimeout(timer);
    },
    pump,
  };
};
