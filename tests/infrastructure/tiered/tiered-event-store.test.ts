import { TieredEventStore } from '../../../infrastructure/tiered/tiered-event-store.js';
import { SystemClock } from '../../../infrastructure/system/system-clock.js';
import { describeEventFeed } from '../../contracts/event-feed.contract.js';
import { describeEventStore } from '../../contracts/event-store.contract.js';
import { openSharedValkey } from '../valkey/open-valkey.js';
import type { RetentionSettings } from '../../../application/ports/event-store.js';

const open = async (retention?: RetentionSettings) => {
  const valkey = await openSharedValkey(retention);
  const settings = { retentionMs: 600_000, bytesMax: 64 * 1024 * 1024 };
  const store = new TieredEventStore(valkey.store, valkey.feed, new SystemClock(), settings);
  const close = (): Promise<void> => {
    store.close();
    return valkey.close();
  };
  return { store, feed: store, close };
};

describeEventStore('TieredEventStore', open);
describeEventFeed('TieredEventStore', () => open());
