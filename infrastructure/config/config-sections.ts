/**
 * The configuration file as tables: key, kind of value with its limits, default as it would be written. The example
 * file and the environment variables are checked against and derived from these.
 */
import { either as E } from 'fp-ts';
import { parseTopicName } from '../../domain/topic/topic-name.js';
import { authSection } from './auth-section.js';
import type {
  Config,
  DeliveryConfig,
  LimitsConfig,
  LogConfig,
  ServerConfig,
  StorageConfig,
  ValkeyConfig,
} from './config.js';
import { optional, section, withDefault } from './section.js';
import { duration, flag, listOf, oneOf, size, text, whole, wholeOr } from './setting.js';

const DAY_MS = 86_400_000;
/** Node's timers and socket timeouts hold 2^31 - 1 ms, which is a little less than 25 days. */
const TIMEOUT_MS_MAX = 24 * DAY_MS;
/** Ten years. Longer is a mistake in the unit. */
const RETENTION_MS_MAX = 3_650 * DAY_MS;
/** A week. Every key costs memory of the storage for as long as it is remembered. */
const WINDOW_MS_MAX = 7 * DAY_MS;
const MEGABYTE = 1024 ** 2;
/** Half of what Valkey accepts as one value (proto-max-bulk-len) and of what V8 holds in one string. */
const MESSAGE_BYTES_MAX = 256 * MEGABYTE;
const MEMORY_BYTES_MAX = 1024 * 1024 * MEGABYTE;

const port = whole(0, 65_535);
const timeout = duration(0, TIMEOUT_MS_MAX);
const neverZeroTimeout = duration(1, TIMEOUT_MS_MAX);
const retention = duration(1, RETENTION_MS_MAX);
/** More processes than any machine has CPUs. */
const WORKERS_MAX = 1024;
const workers = wholeOr('auto', 1, WORKERS_MAX);
const name = text('a name or an address', (input) => /^\S+$/.test(input));
/** A prefix that could be anything else in a key would be a puzzle for whoever reads the keys. */
const keyPrefix = text('at most 64 visible ASCII characters', (input) => /^[\x21-\x7e]{0,64}$/.test(input));
/** A longer list is a formula, which is not what a list is for. */
const BACKOFFS_MAX = 32;
const backoff = listOf(timeout, BACKOFFS_MAX);

const PLACEHOLDER = '{topic}';

/** The placeholder alone would give every message up into its own topic, where it would be given up again. */
const isDeadLetterTopic = (input: string): boolean =>
  input === '' ||
  (input !== PLACEHOLDER &&
    input.split(PLACEHOLDER).length <= 2 &&
    E.isRight(parseTopicName(input.replace(PLACEHOLDER, 'name'))));

const deadLetterTopic = text(
  `the name of a topic with at most one ${PLACEHOLDER} and something beside it, or empty`,
  isDeadLetterTopic,
);

const server = section<ServerConfig>('server', {
  httpPort: withDefault('http_port', port, 8080),
  wsPort: optional('ws_port', port),
  host: withDefault('host', name, '0.0.0.0'),
  workers: withDefault('workers', workers, 1),
  readTimeoutMs: withDefault('read_timeout', timeout, '30s'),
  writeTimeoutMs: withDefault('write_timeout', timeout, '30s'),
  drainTimeoutMs: withDefault('drain_timeout', timeout, '25s'),
  drainDelayMs: withDefault('drain_delay', timeout, '0s'),
  maxPollTimeoutMs: withDefault('max_poll_timeout', timeout, '60s'),
});

const valkey = section<ValkeyConfig>('valkey', {
  host: withDefault('host', name, 'localhost'),
  port: withDefault('port', whole(1, 65_535), 6379),
  username: withDefault('username', text(), ''),
  password: withDefault('password', text(), ''),
  db: withDefault('db', whole(0, 65_535), 0),
  poolSize: withDefault('pool_size', whole(1, 100_000), 100),
  keyPrefix: withDefault('key_prefix', keyPrefix, ''),
  allowUnsafe: withDefault('allow_unsafe', flag, false),
  commandTimeoutMs: withDefault('command_timeout', neverZeroTimeout, '2s'),
});

/** The driver's default depends on another section, so it is resolved by `loadConfig`. */
type GivenStorage = Omit<StorageConfig, 'driver'> & Partial<Pick<StorageConfig, 'driver'>>;

const storage = section<GivenStorage>('storage', {
  driver: optional('driver', oneOf(['memory', 'valkey'])),
  hotTierRetentionMs: withDefault('hot_tier_retention', duration(0, RETENTION_MS_MAX), '10m'),
  hotTierBytesMax: withDefault('hot_tier_max_bytes', size(0, MEMORY_BYTES_MAX), '256MB'),
  persistentTierRetentionMs: withDefault('persistent_tier_retention', retention, '24h'),
  messagesPerTopicMax: withDefault('max_messages_per_topic', whole(1, 1_000_000_000), 1_000_000),
  subscriptionRetentionMs: withDefault('subscription_retention', retention, '7d'),
});

const delivery = section<DeliveryConfig>('delivery', {
  ackTimeoutMs: withDefault('ack_timeout', neverZeroTimeout, '30s'),
  maxInFlight: withDefault('max_in_flight', whole(1, 100_000), 1000),
  maxDeliveries: withDefault('max_deliveries', whole(0, 1_000_000), 0),
  redeliveryBackoffMs: withDefault('redelivery_backoff', backoff, ['0s', '1s', '5s', '30s']),
  deadLetterTopic: withDefault('dead_letter_topic', deadLetterTopic, `dlq.${PLACEHOLDER}`),
  idempotencyWindowMs: withDefault('idempotency_window', duration(1, WINDOW_MS_MAX), '5m'),
  atMostOnceDurability: withDefault('at_most_once_durability', oneOf(['fsync', 'stored']), 'fsync'),
});

const limits = section<LimitsConfig>('limits', {
  connectionsPerInstanceMax: withDefault('max_connections_per_instance', whole(1, 10_000_000), 10_000),
  messageBytesMax: withDefault('max_message_size', size(1, MESSAGE_BYTES_MAX), 1_048_576),
  rateLimitPerClient: withDefault('rate_limit_per_client', whole(0, 1_000_000_000), 1000),
  topicsPerSubscriptionMax: withDefault('max_topics_per_subscription', whole(1, 100_000), 100),
  bufferedBytesPerConnectionMax: withDefault(
    'max_buffered_bytes_per_connection',
    size(1, MEMORY_BYTES_MAX),
    '1MB',
  ),
});

const log = section<LogConfig>('log', {
  level: withDefault('level', oneOf(['debug', 'info', 'warn', 'error', 'silent']), 'info'),
});

/** The file as it was given, before `loadConfig` has resolved the driver. */
export type GivenConfig = Omit<Config, 'storage'> & { readonly storage: GivenStorage };

export const configSection = section<GivenConfig>('config', {
  server: withDefault('server', server, {}),
  valkey: withDefault('valkey', valkey, {}),
  storage: withDefault('storage', storage, {}),
  delivery: withDefault('delivery', delivery, {}),
  limits: withDefault('limits', limits, {}),
  auth: optional('auth', authSection),
  log: withDefault('log', log, {}),
});
