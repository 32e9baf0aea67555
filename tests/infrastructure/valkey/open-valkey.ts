/** The Valkey adapters over a real Valkey, as the composition root puts them together, each opening with its own keys. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../../application/ports/logger.js';
import type { EventStore, RetentionSettings, Stream } from '../../../application/ports/event-store.js';
import { keyNames, type KeyNames } from '../../../infrastructure/valkey/keys.js';
import { LostMessages } from '../../../infrastructure/valkey/lost-messages.js';
import { ValkeyConnection } from '../../../infrastructure/valkey/valkey-connection.js';
import { ValkeyEventFeed } from '../../../infrastructure/valkey/valkey-event-feed.js';
import { ValkeyEventStore } from '../../../infrastructure/valkey/valkey-event-store.js';
import type { ValkeySettings } from '../../../infrastructure/valkey/valkey-settings.js';
import { someRetention } from '../../support/builders.js';
import { randomKeyPrefix, sharedValkey } from '../../support/shared-valkey.js';

/** Keeps what is logged, so that a test can wait for it. */
export class RecordingLogger implements Logger {
  readonly lines: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[] = [];

  debug(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ event, fields });
  }

  info(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.debug(event, fields);
  }

  warn(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.debug(event, fields);
  }

  error(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.debug(event, fields);
  }

  of(event: string): readonly Readonly<Record<string, unknown>>[] {
    return this.lines.filter((line) => line.event === event).map(({ fields }) => fields);
  }
}

export interface OpenedValkey {
  readonly connection: ValkeyConnection;
  readonly names: KeyNames;
  readonly lost: LostMessages;
  readonly store: ValkeyEventStore;
  readonly feed: ValkeyEventFeed;
  readonly logger: RecordingLogger;
  close(): Promise<void>;
}

export interface Place {
  readonly host: string;
  readonly port: number;
}

export const someSettings = (at: Place, overrides: Partial<ValkeySettings> = {}): ValkeySettings => ({
  host: at.host,
  port: at.port,
  username: '',
  password: '',
  db: 0,
  keyPrefix: randomKeyPrefix(),
  allowUnsafe: false,
  commandTimeoutMs: 2_000,
  ...overrides,
});

const opened = new Set<OpenedValkey>();

// A test that fails may leave one open, which would keep the run from ending.
after(async () => {
  for (const each of opened) await each.close();
});

/** Opens the adapters at a Valkey and waits until they can be used. */
export const openValkey = async (
  settings: ValkeySettings,
  retention: RetentionSettings = someRetention(),
): Promise<OpenedValkey> => {
  const logger = new RecordingLogger();
  const connection = new ValkeyConnection(settings, logger);
  const names = keyNames(settings);
  const lost = new LostMessages(connection, names, retention, logger);
  const store = new ValkeyEventStore(connection, names, retention, lost, logger);
  const feed = new ValkeyEventFeed(connection, store, names, lost, logger);
  await connection.ready();
  const close = (): Promise<void> => {
    feed.dispose();
    lost.dispose();
    connection.close();
    return Promise.resolve();
  };
  const valkey = { connection, names, lost, store, feed, logger, close };
  opened.add(valkey);
  return valkey;
};

/** The same at the Valkey that all tests share. */
export const openSharedValkey = async (
  retention?: RetentionSettings,
  overrides: Partial<ValkeySettings> = {},
): Promise<OpenedValkey> => openValkey(someSettings(await sharedValkey(), overrides), retention);

/** Stores as always and tells nobody: what happens to a message that pub/sub loses. */
export const untoldStore = ({ connection, names, lost, logger }: OpenedValkey): EventStore =>
  new ValkeyEventStore(
    connection,
    { ...names, channel: () => 'nobody-listens-here' },
    someRetention(),
    lost,
    logger,
  );

/** The same, with what a contract test may do to it. */
export const openWithDisasters = async (
  retention?: RetentionSettings,
): Promise<{
  readonly valkey: OpenedValkey;
  readonly lose: (stream: Stream) => Promise<void>;
  readonly pass: (ms: number) => Promise<void>;
}> => {
  const valkey = await openSharedValkey(retention);
  return {
    valkey,
    lose: async (stream) => {
      await valkey.connection.reads.del(valkey.names.key(stream));
      // Offsets are time, to the millisecond; nothing else is left to tell what comes now from what was there.
      await delay(2);
    },
    pass: (ms) => delay(ms),
  };
};
