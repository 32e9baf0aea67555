/**
 * COMPOSITION ROOT: what is built from what. Three modules: the driven adapters, the use cases, the interfaces.
 * Everything is a singleton, made when it is first asked for.
 */
import 'reflect-metadata';
import { Container, ContainerModule } from 'inversify';
import { makeDeadLetters } from '../../application/dead-letters.js';
import { LiveTopics } from '../../application/live-topics.js';
import { makePrepareOpening } from '../../application/open-subscription.js';
import { makePollMessages } from '../../application/poll-messages.js';
import { makePublishMessages } from '../../application/publish-messages.js';
import { Sessions } from '../../application/sessions.js';
import { makeSettleMessages } from '../../application/settle-messages.js';
import { makeSubscriptionJournal } from '../../application/subscription-journal.js';
import { forgettingIntervalMs, TopicCatalogue } from '../../application/topic-catalogue.js';
import { ConnectionLimit } from '../../interfaces/connection-limit.js';
import { makeHttpHandler } from '../../interfaces/http/app.js';
import { WebSocketEndpoint } from '../../interfaces/websocket/server.js';
import { ApiKeyAuthenticator } from '../auth/api-key-authenticator.js';
import { CachingAuthenticator } from '../auth/caching-authenticator.js';
import { JwtAuthenticator } from '../auth/jwt-authenticator.js';
import { TokenShapeAuthenticator } from '../auth/token-shape-authenticator.js';
import type { AuthConfig, Config } from '../config/config.js';
import { JsonLogger } from '../observability/json-logger.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { RandomIdSource } from '../system/random-id-source.js';
import { sha256Digest } from '../system/sha256-digest.js';
import { SystemClock } from '../system/system-clock.js';
import { Lifecycle } from './lifecycle.js';
import { openStorage, retentionOf } from './storage.js';
import { TOKENS } from './tokens.js';

const drivenAdapters = new ContainerModule(({ bind }) => {
  bind(TOKENS.Clock).toResolvedValue(() => new SystemClock());
  bind(TOKENS.Random).toConstantValue(Math.random);
  bind(TOKENS.Retention).toResolvedValue(retentionOf, [TOKENS.Config]);
  bind(TOKENS.IdSource).toResolvedValue(() => new RandomIdSource());
  bind(TOKENS.Logger).toResolvedValue((config) => new JsonLogger(config.log.level), [TOKENS.Config]);
  bind(TOKENS.Metrics).toResolvedValue(() => new PrometheusMetrics());
  bind(TOKENS.Storage).toResolvedValue(openStorage, [
    TOKENS.Config,
    TOKENS.Clock,
    TOKENS.Logger,
    TOKENS.Metrics,
  ]);
  bind(TOKENS.EventStore).toResolvedValue(({ store }) => store, [TOKENS.Storage]);
  bind(TOKENS.EventFeed).toResolvedValue(({ feed }) => feed, [TOKENS.Storage]);
  bind(TOKENS.JournalSignals).toResolvedValue(({ signals }) => signals, [TOKENS.Storage]);
  bind(TOKENS.Authenticator).toResolvedValue(
    ({ apiKeys, jwt }, clock) =>
      new CachingAuthenticator(
        new TokenShapeAuthenticator(
          new ApiKeyAuthenticator(apiKeys),
          jwt === undefined ? undefined : new JwtAuthenticator(jwt, clock),
        ),
        clock,
      ),
    [TOKENS.Auth, TOKENS.Clock],
  );
});

const useCases = new ContainerModule(({ bind }) => {
  bind(TOKENS.SubscriptionJournal).toResolvedValue(
    (store, signals, clock, { delivery }) =>
      makeSubscriptionJournal(
        { store, signals, clock },
        { isAtMostOnceSynced: delivery.atMostOnceDurability === 'fsync' },
      ),
    [TOKENS.EventStore, TOKENS.JournalSignals, TOKENS.Clock, TOKENS.Config],
  );
  bind(TOKENS.LiveTopics).toResolvedValue(
    (feed, clock, metrics) => new LiveTopics(feed, clock, metrics),
    [TOKENS.EventFeed, TOKENS.Clock, TOKENS.Metrics],
  );
  bind(TOKENS.TopicCatalogue).toResolvedValue(
    (store, feed, clock, config) =>
      new TopicCatalogue(store, feed, clock, forgettingIntervalMs(retentionOf(config))),
    [TOKENS.EventStore, TOKENS.EventFeed, TOKENS.Clock, TOKENS.Config],
  );
  bind(TOKENS.PrepareOpening).toResolvedValue(
    (store, catalogue, clock, retention, { delivery, limits }) =>
      makePrepareOpening(
        { store, catalogue, clock, retention },
        {
          settings: {
            ackTimeoutMs: delivery.ackTimeoutMs,
            maxInFlight: delivery.maxInFlight,
            maxDeliveries: delivery.maxDeliveries,
            backoffMs: delivery.redeliveryBackoffMs,
          },
          topicsMax: limits.topicsPerSubscriptionMax,
        },
      ),
    [TOKENS.EventStore, TOKENS.TopicCatalogue, TOKENS.Clock, TOKENS.Retention, TOKENS.Config],
  );
  bind(TOKENS.DeadLetters).toResolvedValue(
    (store, clock, metrics, logger, retention, { delivery }) =>
      makeDeadLetters(
        { store, clock, metrics, logger },
        // For as long as a message is kept it may be given up, and asked for again.
        { template: delivery.deadLetterTopic, rememberedMs: retention.messagesMs },
      ),
    [TOKENS.EventStore, TOKENS.Clock, TOKENS.Metrics, TOKENS.Logger, TOKENS.Retention, TOKENS.Config],
  );
  bind(TOKENS.SubscriptionDependencies).toResolvedValue(
    (
      store,
      journal,
      liveTopics,
      deadLetters,
      signals,
      catalogue,
      prepareOpening,
      clock,
      metrics,
      random,
      retention,
    ) => ({
      store,
      journal,
      liveTopics,
      deadLetters,
      signals,
      catalogue,
      prepareOpening,
      clock,
      metrics,
      random,
      retention,
    }),
    [
      TOKENS.EventStore,
      TOKENS.SubscriptionJournal,
      TOKENS.LiveTopics,
      TOKENS.DeadLetters,
      TOKENS.JournalSignals,
      TOKENS.TopicCatalogue,
      TOKENS.PrepareOpening,
      TOKENS.Clock,
      TOKENS.Metrics,
      TOKENS.Random,
      TOKENS.Retention,
    ],
  );
  bind(TOKENS.Sessions).toResolvedValue(
    (common, ids, logger) => new Sessions({ ...common, ids, logger }),
    [TOKENS.SubscriptionDependencies, TOKENS.IdSource, TOKENS.Logger],
  );
  bind(TOKENS.PollMessages).toResolvedValue(
    (common, sessions) => makePollMessages({ ...common, sessions }),
    [TOKENS.SubscriptionDependencies, TOKENS.Sessions],
  );
  bind(TOKENS.SettleMessages).toResolvedValue(
    (common, sessions) => makeSettleMessages({ ...common, sessions }),
    [TOKENS.SubscriptionDependencies, TOKENS.Sessions],
  );
  bind(TOKENS.PublishMessages).toResolvedValue(
    (store, clock, metrics, { limits, delivery }) =>
      makePublishMessages(store, clock, metrics, sha256Digest, {
        payloadBytesMax: limits.messageBytesMax,
        idempotencyWindowMs: delivery.idempotencyWindowMs,
      }),
    [TOKENS.EventStore, TOKENS.Clock, TOKENS.Metrics, TOKENS.Config],
  );
});

const interfaces = new ContainerModule(({ bind }) => {
  bind(TOKENS.ConnectionLimit).toResolvedValue(
    ({ limits }) => new ConnectionLimit(limits.connectionsPerInstanceMax),
    [TOKENS.Config],
  );
  bind(TOKENS.WebSocketEndpoint).toResolvedValue(
    (sessions, publish, authenticator, clock, logger, connections, metrics, { server, limits }) =>
      new WebSocketEndpoint(
        { sessions, publish, authenticator, clock, logger, connections, metrics },
        {
          messageBytesMax: limits.messageBytesMax,
          bufferedBytesMax: limits.bufferedBytesPerConnectionMax,
          writeTimeoutMs: server.writeTimeoutMs,
        },
      ),
    [
      TOKENS.Sessions,
      TOKENS.PublishMessages,
      TOKENS.Authenticator,
      TOKENS.Clock,
      TOKENS.Logger,
      TOKENS.ConnectionLimit,
      TOKENS.Metrics,
      TOKENS.Config,
    ],
  );
  bind(TOKENS.Draining).toResolvedValue(() => ({ isDraining: false }));
  bind(TOKENS.HttpHandler).toResolvedValue(
    (
      publish,
      polls,
      settle,
      deadLetters,
      authenticator,
      connections,
      logger,
      storage,
      metrics,
      config,
      version,
      draining,
    ) =>
      makeHttpHandler(
        {
          publish,
          polls,
          settle,
          deadLetters,
          authenticator,
          connections,
          logger,
          management: { version, storage: storage.health, metrics, isDraining: () => draining.isDraining },
        },
        { messageBytesMax: config.limits.messageBytesMax, pollTimeoutMaxMs: config.server.maxPollTimeoutMs },
      ),
    [
      TOKENS.PublishMessages,
      TOKENS.PollMessages,
      TOKENS.SettleMessages,
      TOKENS.DeadLetters,
      TOKENS.Authenticator,
      TOKENS.ConnectionLimit,
      TOKENS.Logger,
      TOKENS.Storage,
      TOKENS.Metrics,
      TOKENS.Config,
      TOKENS.Version,
      TOKENS.Draining,
    ],
  );
  bind(TOKENS.Lifecycle).toResolvedValue(
    (handler, endpoint, polls, sessions, catalogue, storage, logger, { server }, draining) =>
      new Lifecycle(handler, endpoint, polls, sessions, catalogue, storage, logger, server, draining),
    [
      TOKENS.HttpHandler,
      TOKENS.WebSocketEndpoint,
      TOKENS.PollMessages,
      TOKENS.Sessions,
      TOKENS.TopicCatalogue,
      TOKENS.Storage,
      TOKENS.Logger,
      TOKENS.Config,
      TOKENS.Draining,
    ],
  );
});

/** The service that `config` describes, with `auth` as its credentials. Nothing runs before `lifecycle.start()`. */
export const makeContainer = (config: Config, auth: AuthConfig, version: string): Container => {
  const container = new Container({ defaultScope: 'Singleton' });
  container.bind(TOKENS.Config).toConstantValue(config);
  container.bind(TOKENS.Auth).toConstantValue(auth);
  container.bind(TOKENS.Version).toConstantValue(version);
  container.load(drivenAdapters, useCases, interfaces);
  return container;
};
