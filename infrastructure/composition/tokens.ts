/** One symbol for each thing that the container builds, with the type that it stands for. */
import type { RequestListener } from 'node:http';
import type { ServiceIdentifier } from 'inversify';
import type { DeadLetters } from '../../application/dead-letters.js';
import type { LiveTopics } from '../../application/live-topics.js';
import type { PrepareOpening } from '../../application/open-subscription.js';
import type { PollDependencies, PollMessages } from '../../application/poll-messages.js';
import type { Authenticator } from '../../application/ports/authenticator.js';
import type { Clock } from '../../application/ports/clock.js';
import type { EventFeed } from '../../application/ports/event-feed.js';
import type { EventStore, RetentionSettings } from '../../application/ports/event-store.js';
import type { IdSource } from '../../application/ports/id-source.js';
import type { JournalSignals } from '../../application/ports/journal-signals.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Metrics } from '../../application/ports/metrics.js';
import type { PublishMessages } from '../../application/publish-messages.js';
import type { Sessions } from '../../application/sessions.js';
import type { SettleMessages } from '../../application/settle-messages.js';
import type { SubscriptionJournal } from '../../application/subscription-journal.js';
import type { TopicCatalogue } from '../../application/topic-catalogue.js';
import type { ConnectionLimit } from '../../interfaces/connection-limit.js';
import type { WebSocketEndpoint } from '../../interfaces/websocket/server.js';
import type { AuthConfig, Config } from '../config/config.js';
import type { Draining, Lifecycle } from './lifecycle.js';
import type { Storage } from './storage.js';

const token = <A>(name: string): ServiceIdentifier<A> => Symbol(name);

export const TOKENS = {
  Config: token<Config>('Config'),
  Auth: token<AuthConfig>('Auth'),
  Version: token<string>('Version'),
  Retention: token<RetentionSettings>('Retention'),

  Clock: token<Clock>('Clock'),
  IdSource: token<IdSource>('IdSource'),
  /** From 0 up to 1: how long a redelivery waits. */
  Random: token<() => number>('Random'),
  Logger: token<Logger>('Logger'),
  Metrics: token<Metrics>('Metrics'),
  Storage: token<Storage>('Storage'),
  EventStore: token<EventStore>('EventStore'),
  EventFeed: token<EventFeed>('EventFeed'),
  JournalSignals: token<JournalSignals>('JournalSignals'),
  Authenticator: token<Authenticator>('Authenticator'),

  SubscriptionJournal: token<SubscriptionJournal>('SubscriptionJournal'),
  LiveTopics: token<LiveTopics>('LiveTopics'),
  TopicCatalogue: token<TopicCatalogue>('TopicCatalogue'),
  PrepareOpening: token<PrepareOpening>('PrepareOpening'),
  /** What all use cases need that have to do with subscriptions; each takes its part of it. */
  SubscriptionDependencies: token<Omit<PollDependencies, 'sessions'>>('SubscriptionDependencies'),
  Sessions: token<Sessions>('Sessions'),
  PublishMessages: token<PublishMessages>('PublishMessages'),
  PollMessages: token<PollMessages>('PollMessages'),
  DeadLetters: token<DeadLetters>('DeadLetters'),
  SettleMessages: token<SettleMessages>('SettleMessages'),

  ConnectionLimit: token<ConnectionLimit>('ConnectionLimit'),
  WebSocketEndpoint: token<WebSocketEndpoint>('WebSocketEndpoint'),
  HttpHandler: token<RequestListener>('HttpHandler'),
  Draining: token<Draining>('Draining'),
  Lifecycle: token<Lifecycle>('Lifecycle'),
} as const;
