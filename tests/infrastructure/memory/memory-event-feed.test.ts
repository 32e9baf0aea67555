import { MemoryEventFeed } from '../../../infrastructure/memory/memory-event-feed.js';
import { MemoryEventStore } from '../../../infrastructure/memory/memory-event-store.js';
import { describeEventFeed } from '../../contracts/event-feed.contract.js';
import { someRetention } from '../../support/builders.js';
import { ManualClock } from '../../support/manual-clock.js';

describeEventFeed('MemoryEventFeed', () => {
  const store = new MemoryEventStore(new ManualClock(), someRetention());
  const feed = new MemoryEventFeed(store);
  const close = (): Promise<void> => {
    store.close();
    return Promise.resolve();
  };
  return Promise.resolve({ store, feed, close });
});
