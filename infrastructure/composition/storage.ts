/** The storage that the configuration asks for, as one thing: where events are kept, how they are told, how it ends. */
import type { Clock } from '../../application/ports/clock.js';
import type { EventFeed } from '../../application/ports/event-feed.js';
import type { EventStore, HealthProbe, RetentionSettings } from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import { assertNever } from '../../domain/assert-never.js';
import type { Config } from '../config/config.js';
import { MemoryEventFeed } from '../memory/memory-event-feed.js';
import { MemoryEventStore } from '../memory/memory-event-store.js';
import { TieredEventStore } from '../tiered/tiered-event-store.js';
import { keyNames } from '../valkey/keys.js';
import { ValkeyConnection } from '../valkey/valkey-connection.js';
import { ValkeyEventFeed } from '../valkey/valkey-event-feed.js';
import { ValkeyEventStore } from '../valkey/valkey-event-store.js';

export interface Storage {
  readonly store: EventStore;
  readonly feed: EventFeed;
  readonly health: HealthProbe;
  close(): void;
}

export const openStorage = (config: Config, clock: Clock, logger: Logger): Storage => {
  const retention: RetentionSettings = {
    messagesMs: config.storage.persistentTierRetentionMs,
    messagesPerTopicMax: config.storage.messagesPerTopicMax,
    subscriptionMs: config.storage.subscriptionRetentionMs,
  };
  switch (config.storage.driver) {
    case 'memory':
      return openMemory(retention, clock, logger);
    case 'valkey':
      return openValkey(config, retention, clock, logger);
    default:
      return assertNever(config.storage.driver);
  }
};

const openMemory = (retention: RetentionSettings, clock: Clock, logger: Logger): Storage => {
  logger.warn('storage_in_memory', { note: 'messages live in this process only and end with it' });
  const store = new MemoryEventStore(clock, retention);
  return { store, feed: new MemoryEventFeed(store), health: store, close: () => store.close() };
};

const openValkey = (config: Config, retention: RetentionSettings, clock: Clock, logger: Logger): Storage => {
  const connection = new ValkeyConnection(config.valkey, logger);
  const names = keyNames(config.valkey);
  const persistent = new ValkeyEventStore(connection, names, retention, logger);
  const feed = new ValkeyEventFeed(connection, persistent, names, logger);
  const tiered = new TieredEventStore(persistent, feed, clock, {
    retentionMs: config.storage.hotTierRetentionMs,
    bytesMax: config.storage.hotTierBytesMax,
  });
  return {
    store: tiered,
    feed: tiered,
    health: connection,
    close: () => {
      tiered.close();
      feed.dispose();
      connection.close();
    },
  };
};
