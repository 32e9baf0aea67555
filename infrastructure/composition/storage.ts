/** The storage that the configuration asks for, as one thing: where events are kept, how they are told, how it ends. */
import { forgettingIntervalMs } from '../../application/topic-catalogue.js';
import type { Clock } from '../../application/ports/clock.js';
import type { EventFeed } from '../../application/ports/event-feed.js';
import type { EventStore, HealthProbe, RetentionSettings } from '../../application/ports/event-store.js';
import type { JournalSignals } from '../../application/ports/journal-signals.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Metrics } from '../../application/ports/metrics.js';
import { assertNever } from '../../domain/assert-never.js';
import type { Config } from '../config/config.js';
import { MemoryEventFeed } from '../memory/memory-event-feed.js';
import { MemoryEventStore } from '../memory/memory-event-store.js';
import { MemoryJournalSignals } from '../memory/memory-journal-signals.js';
import { TieredEventStore } from '../tiered/tiered-event-store.js';
import { CatalogueSweep, trimmingIntervalMs } from '../valkey/catalogue-sweep.js';
import { FeedProbe } from '../valkey/feed-probe.js';
import { keyNames } from '../valkey/keys.js';
import { LostMessages } from '../valkey/lost-messages.js';
import { ValkeyConnection } from '../valkey/valkey-connection.js';
import { ValkeyEventFeed } from '../valkey/valkey-event-feed.js';
import { ValkeyEventStore } from '../valkey/valkey-event-store.js';
import { ValkeyJournalSignals } from '../valkey/valkey-journal-signals.js';

export interface Storage {
  readonly store: EventStore;
  readonly feed: EventFeed;
  readonly signals: JournalSignals;
  readonly health: HealthProbe;
  close(): void;
}

export const retentionOf = ({ storage }: Pick<Config, 'storage'>): RetentionSettings => ({
  messagesMs: storage.persistentTierRetentionMs,
  messagesPerTopicMax: storage.messagesPerTopicMax,
  subscriptionMs: storage.subscriptionRetentionMs,
});

export const openStorage = (config: Config, clock: Clock, logger: Logger, metrics: Metrics): Storage => {
  const retention = retentionOf(config);
  switch (config.storage.driver) {
    case 'memory':
      return openMemory(retention, clock, logger, metrics);
    case 'valkey':
      return openValkey(config, retention, clock, logger, metrics);
    default:
      return assertNever(config.storage.driver);
  }
};

const openMemory = (
  retention: RetentionSettings,
  clock: Clock,
  logger: Logger,
  metrics: Metrics,
): Storage => {
  logger.warn('storage_in_memory', { note: 'messages live in this process only and end with it' });
  const store = new MemoryEventStore(clock, retention);
  metrics.observeStorage(() => ({ isUp: true, feedLagMs: undefined }));
  return {
    store,
    feed: new MemoryEventFeed(store),
    signals: new MemoryJournalSignals(),
    health: store,
    close: () => store.close(),
  };
};

const openValkey = (
  config: Config,
  retention: RetentionSettings,
  clock: Clock,
  logger: Logger,
  metrics: Metrics,
): Storage => {
  const connection = new ValkeyConnection(config.valkey, logger);
  const names = keyNames(config.valkey);
  const lost = new LostMessages(connection, names, retention, logger);
  const persistent = new ValkeyEventStore(connection, names, retention, lost, logger);
  const feed = new ValkeyEventFeed(connection, persistent, names, lost, logger);
  const tiered = new TieredEventStore(persistent, feed, clock, {
    // What may be forgotten is not to be had from memory either.
    retentionMs: Math.min(config.storage.hotTierRetentionMs, retention.messagesMs),
    bytesMax: config.storage.hotTierBytesMax,
  });
  const signals = new ValkeyJournalSignals(connection, config.valkey, logger);
  const probe = new FeedProbe(connection, config.valkey, logger);
  const sweep = new CatalogueSweep(
    connection,
    names,
    clock,
    logger,
    Math.min(forgettingIntervalMs(retention), trimmingIntervalMs(retention)),
    retention.messagesMs,
  );
  metrics.observeStorage(() => ({ isUp: connection.isUp, feedLagMs: probe.lagMs }));
  return {
    store: tiered,
    feed: tiered,
    signals,
    health: firstProblemsOf([connection, probe]),
    close: () => {
      sweep.close();
      tiered.close();
      feed.dispose();
      lost.dispose();
      signals.close();
      probe.close();
      connection.close();
    },
  };
};

/** The problems of the first that has any: what comes after it suffers from the same cause. */
const firstProblemsOf = (probes: readonly HealthProbe[]): HealthProbe => ({
  problems: async () => {
    for (const probe of probes) {
      const problems = await probe.problems();
      if (problems.length > 0) return problems;
    }
    return [];
  },
});
