/**
 * Everything that can be configured: units are in the names, limits are checked, secrets are hashed where a hash is
 * enough. What each option is for stands here; how it is written in the file stands in config-sections.ts and
 * config.example.yaml. Built by `loadConfig`.
 */
import type { Grants } from '../../application/ports/authenticator.js';
import type { Milliseconds } from '../../domain/time.js';

export interface Config {
  readonly server: ServerConfig;
  readonly valkey: ValkeyConfig;
  readonly storage: StorageConfig;
  readonly delivery: DeliveryConfig;
  readonly limits: LimitsConfig;
  /** Absent: credentials for development are made up at every start. */
  readonly auth?: AuthConfig;
  readonly log: LogConfig;
}

export interface ServerConfig {
  /** TCP port of the HTTP API and of /ws. Default 8080. 0 lets the system choose one. */
  readonly httpPort: number;
  /** A second TCP port for the same API and /ws. Default: none. The same as `http_port` is the same as none. */
  readonly wsPort?: number;
  /** Address to listen at. Default 0.0.0.0: every IPv4 interface. */
  readonly host: string;
  /**
   * Processes that share the ports. Default 1: this process. `auto`: one for each CPU. More than one needs Valkey. What
   * is a limit of a process is one of each: connections, memory of the hot tier.
   */
  readonly workers: number | 'auto';
  /** Time a client has to send a whole request, in ms. Default 30 000. 0 is no limit, which slow requests can exhaust. */
  readonly readTimeoutMs: Milliseconds;
  /** Time a WebSocket client may leave unread what it is sent, in ms. Default 30 000: then 4008. 0 is no limit. */
  readonly writeTimeoutMs: Milliseconds;
  /** Time to say goodbye after SIGTERM, in ms. Default 25 000: five seconds less than Kubernetes waits. */
  readonly drainTimeoutMs: Milliseconds;
  /** Time after SIGTERM in which all goes on but /ready, in ms. Default 0. For load balancers that are slow to notice. */
  readonly drainDelayMs: Milliseconds;
  /** The longest time a poll may ask to wait, in ms. Default 60 000. Proxies in front must allow more than that. */
  readonly maxPollTimeoutMs: Milliseconds;
}

/** Where Valkey is. Used when `storage.driver` is `valkey`. */
export interface ValkeyConfig {
  /** Name or address. Default localhost. */
  readonly host: string;
  /** TCP port. Default 6379. */
  readonly port: number;
  /** ACL user. Default empty: the default user. */
  readonly username: string;
  /** Default empty: none. */
  readonly password: string;
  /** Number of the database. Default 0. */
  readonly db: number;
  /** Accepted for compatibility, default 100, no effect: commands share a few pipelined sockets and need no pool. */
  readonly poolSize: number;
  /** Put in front of every key and channel. Default empty. Lets installations share one Valkey. */
  readonly keyPrefix: string;
  /** Serve although Valkey may evict or forget messages. Default false: it is an error in the log and in /ready. */
  readonly allowUnsafe: boolean;
  /** Time a command may stay unanswered, in ms. Default 2 000. Then its outcome is unknown and the socket is renewed. */
  readonly commandTimeoutMs: Milliseconds;
}

export interface StorageConfig {
  /** Where messages live. Default valkey when there is a `valkey` section, else memory: in this process only. */
  readonly driver: 'memory' | 'valkey';
  /** Age up to which messages are kept in this process for catching up, in ms. Default 600 000. Costs memory. */
  readonly hotTierRetentionMs: Milliseconds;
  /** Memory for that, over all topics, in bytes. Default 256 MB. Below it, catching up reads from Valkey. */
  readonly hotTierBytesMax: number;
  /** Age at which messages may be forgotten, in ms. Default 86 400 000. Who was away longer is told a gap. */
  readonly persistentTierRetentionMs: Milliseconds;
  /** About how many messages of a topic are kept. Default 1 000 000. */
  readonly messagesPerTopicMax: number;
  /** Silence after which a subscription is forgotten, in ms. Default 604 800 000. It then starts anew. */
  readonly subscriptionRetentionMs: Milliseconds;
}

export interface DeliveryConfig {
  /** Time a client has to acknowledge before redelivery, in ms. Default 30 000. Shorter means more duplicates. */
  readonly ackTimeoutMs: Milliseconds;
  /** Messages a client may hold unacknowledged. Default 1 000. Fewer means that slow clients wait for their own acks. */
  readonly maxInFlight: number;
  /** Deliveries after which a message is given up and goes to the dead-letter topic. Default 0: it is never given up. */
  readonly maxDeliveries: number;
  /** Waits between deliveries, in ms: the first after the first one, and so on; the last repeats. Default 0, 1, 5, 30 s. */
  readonly redeliveryBackoffMs: readonly Milliseconds[];
  /**
   * Names the topic for messages that are given up; `{topic}` is the topic that they come from. Default `dlq.{topic}`.
   * Empty: such messages are dropped and counted.
   */
  readonly deadLetterTopic: string;
  /** How long the idempotency key of a publish is remembered, in ms. Default 300 000. Longer costs memory for each key. */
  readonly idempotencyWindowMs: Milliseconds;
  /**
   * What must have happened to the record of an at-most-once delivery before the message is sent. Default fsync: on the
   * disk, where Valkey has an append-only file. stored: a crash of Valkey may make messages of its last second come twice.
   */
  readonly atMostOnceDurability: 'fsync' | 'stored';
}

export interface LimitsConfig {
  /** Open connections of one process. Default 10 000. The next one is refused. */
  readonly connectionsPerInstanceMax: number;
  /** Bytes of a payload. Default 1 048 576. A larger one is refused with 413. */
  readonly messageBytesMax: number;
  /** Messages per minute. Default 1 000. Accepted now and enforced in a later release; 0 will be no limit. */
  readonly rateLimitPerClient: number;
  /** Topics and patterns of one subscription. Default 100. */
  readonly topicsPerSubscriptionMax: number;
  /** Bytes waiting to be written to one connection. Default 1 MB. Beyond it the client is a slow consumer. */
  readonly bufferedBytesPerConnectionMax: number;
}

export interface AuthConfig {
  /** Credentials of backends. Default: none. */
  readonly apiKeys: readonly ApiKeyConfig[];
  /** How tokens of users are checked. Absent: no token is accepted. */
  readonly jwt?: JwtConfig;
}

/** One API key. The key itself is gone: its digest is enough to know it again. */
export interface ApiKeyConfig {
  /** Who it is, as `key:<name>` in subscriptions and logs. */
  readonly name: string;
  /** SHA-256 of the key, in lower-case hexadecimal digits. */
  readonly sha256: string;
  /** Default, when no list of patterns is given at all: may publish everywhere and do nothing else. */
  readonly grants: Grants;
}

export interface JwtConfig {
  /** Shared secret of HS256, at least 32 bytes (RFC 7518 §3.2). Who knows it can be anybody. */
  readonly secret: string;
  /** What `iss` must be. Absent: not checked. */
  readonly issuer?: string;
  /** What `aud` must contain. Absent: not checked. */
  readonly audience?: string;
  /** What a token without a `topics` claim may do. Default: subscribe to everything, publish nothing. */
  readonly defaultGrants: Grants;
}

export interface LogConfig {
  /** The least important lines that are written. Default info. */
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}
