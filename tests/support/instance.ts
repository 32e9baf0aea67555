/**
 * The use cases of one instance, on memory adapters and a clock that stands still. Several instances may share a
 * backend: they then meet in its store, as proxies meet in Valkey.
 */
import type { AcknowledgeMessages } from '../../application/acknowledge-messages.js';
import { makeAcknowledgeMessages } from '../../application/acknowledge-messages.js';
import { LiveTopics } from '../../application/live-topics.js';
import {
  makePrepareOpening,
  type PrepareOpening,
  type SubscriptionRequest,
} from '../../application/open-subscription.js';
import {
  makePollMessages,
  type PollAnswer,
  type PollMessages,
  type PollRequest,
} from '../../application/poll-messages.js';
import type { Principal } from '../../application/ports/authenticator.js';
import { topicStream, type RetentionSettings } from '../../application/ports/event-store.js';
import type { Session } from '../../application/session.js';
import { Sessions } from '../../application/sessions.js';
import {
  makeSubscriptionJournal,
  type Folded,
  type SubscriptionJournal,
} from '../../application/subscription-journal.js';
import { TopicCatalogue } from '../../application/topic-catalogue.js';
import type { MessageId } from '../../domain/message/message-id.js';
import type { ClientId, Identity } from '../../domain/subscription/client-id.js';
import { LATEST } from '../../domain/subscription/start.js';
import type { SubscriptionSettings } from '../../domain/subscription/subscription-events.js';
import type { Subscription } from '../../domain/subscription/subscription.js';
import type { MessagePublished } from '../../domain/topic/topic-events.js';
import { MemoryEventFeed } from '../../infrastructure/memory/memory-event-feed.js';
import { MemoryEventStore } from '../../infrastructure/memory/memory-event-store.js';
import { aMessage, anIdentity, aPattern, aTopic, someRetention, someSettings } from './builders.js';
import { ManualClock } from './manual-clock.js';
import { aPrincipal } from './principals.js';
import { RecordingConnection } from './recording-connection.js';
import { settle } from './settle.js';
import { SilentLogger, SilentMetrics } from './silent.js';
import { right } from './task-either.js';
import { UnreliableFeed } from './unreliable-feed.js';
import { UnreliableStore } from './unreliable-store.js';

/** What all instances share. */
export class Backend {
  readonly clock = new ManualClock();
  readonly store: MemoryEventStore;

  constructor(retention: Partial<RetentionSettings> = {}) {
    this.store = new MemoryEventStore(this.clock, someRetention(retention));
  }

  /** Stores one message per payload; everybody who follows the topic is told within this turn. */
  async publish(
    topic: string,
    ...payloads: readonly (string | MessagePublished)[]
  ): Promise<readonly MessageId[]> {
    const name = aTopic(topic);
    const events = payloads.map((each) => (typeof each === 'string' ? aMessage({ payload: each }) : each));
    const cursors = await right(this.store.append(topicStream(name), events));
    await settle();
    return cursors.map(({ offset }) => ({ topic: name, offset }));
  }

  /** Lets time go by, with everything that happens in it, a commit interval at a time. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      this.clock.advance(Math.min(STEP_MS, left));
      await settle();
    }
  }
}

const STEP_MS = 100;

export interface InstanceOptions {
  readonly settings?: Partial<SubscriptionSettings>;
  readonly topicsMax?: number;
}

/** A subscribe or a poll; what a test leaves out is usual. */
export type Wanted = Partial<Omit<SubscriptionRequest, 'topics'>> & {
  readonly topics?: readonly string[];
  readonly principal?: Principal;
  /** `undefined`: not durable. */
  readonly clientId?: string | undefined;
};

export type WantedPoll = Wanted & { readonly timeoutMs?: number; readonly max?: number };

export interface Subscriber {
  readonly session: Session;
  readonly connection: RecordingConnection;
}

export class Instance {
  readonly store: UnreliableStore;
  readonly feed: UnreliableFeed;
  readonly logger = new SilentLogger();
  readonly metrics = new SilentMetrics();
  readonly journal: SubscriptionJournal;
  readonly liveTopics: LiveTopics;
  readonly catalogue: TopicCatalogue;
  readonly prepareOpening: PrepareOpening;
  readonly sessions: Sessions;
  readonly polls: PollMessages;
  readonly acknowledgeMessages: AcknowledgeMessages;

  constructor(
    readonly backend: Backend,
    { settings = {}, topicsMax = 50 }: InstanceOptions = {},
  ) {
    const { clock } = backend;
    this.store = new UnreliableStore(backend.store);
    this.feed = new UnreliableFeed(new MemoryEventFeed(backend.store));
    this.journal = makeSubscriptionJournal(this.store);
    this.liveTopics = new LiveTopics(this.feed, clock, this.metrics);
    this.catalogue = new TopicCatalogue(this.store, this.feed);
    this.prepareOpening = makePrepareOpening(this.store, this.catalogue, {
      settings: someSettings(settings),
      topicsMax,
    });
    const { store, journal, liveTopics, logger, metrics, catalogue, prepareOpening } = this;
    this.sessions = new Sessions(
      { store, journal, liveTopics, clock, metrics, logger },
      prepareOpening,
      { next: () => `session-${++idsGiven}` },
      catalogue,
    );
    this.sessions.start();
    this.polls = makePollMessages({
      store,
      journal,
      liveTopics,
      sessions: this.sessions,
      catalogue,
      prepareOpening,
      clock,
      metrics,
    });
    this.acknowledgeMessages = makeAcknowledgeMessages(journal, this.sessions);
  }

  /** Opens a subscription on a connection of its own, and begins to deliver. */
  async subscribe(wanted: Wanted = {}): Promise<Subscriber> {
    const connection = new RecordingConnection();
    const { session } = await right(this.opening(wanted, connection));
    session.deliver();
    await settle();
    return { session, connection };
  }

  opening(wanted: Wanted, connection: RecordingConnection): ReturnType<Sessions['open']> {
    const clientId = 'clientId' in wanted ? wanted.clientId : 'phone';
    return this.sessions.open(
      wanted.principal ?? aPrincipal(),
      clientId === undefined ? undefined : identityOf({ ...wanted, clientId }).clientId,
      toRequest(wanted),
      connection,
    );
  }

  /** Polls and waits for the answer. `gone` is what a hang-up aborts. */
  poll(wanted: WantedPoll = {}, gone = new AbortController().signal): Promise<PollAnswer> {
    return right(this.polling(wanted, gone));
  }

  polling(wanted: WantedPoll = {}, gone = new AbortController().signal): ReturnType<PollMessages['poll']> {
    const request: PollRequest = {
      ...toRequest(wanted),
      clientId: identityOf(wanted).clientId,
      timeoutMs: wanted.timeoutMs ?? 0,
      messagesMax: wanted.max ?? 100,
    };
    return this.polls.poll(wanted.principal ?? aPrincipal(), request, gone);
  }

  acknowledge(ids: readonly MessageId[], wanted: Wanted = {}): ReturnType<AcknowledgeMessages> {
    const { clientId } = identityOf(wanted);
    return this.acknowledgeMessages(wanted.principal ?? aPrincipal(), clientId, ids);
  }

  /** The subscription as its journal tells it. */
  async recorded(wanted: Wanted = {}): Promise<Subscription> {
    return (await this.folded(wanted)).state;
  }

  folded(wanted: Wanted = {}): Promise<Folded> {
    return right(makeSubscriptionJournal(this.backend.store).load(identityOf(wanted)));
  }
}

export const anInstance = (backend = new Backend(), options: InstanceOptions = {}): Instance =>
  new Instance(backend, options);

let idsGiven = 0;

export const identityOf = ({ principal, clientId }: Wanted): Identity =>
  anIdentity({ principal: (principal ?? aPrincipal()).id, clientId: clientId ?? 'phone' });

const toRequest = ({
  topics = ['orders'],
  guarantee,
  start,
  ackTimeoutMs,
  maxInFlight,
}: Wanted): SubscriptionRequest => ({
  topics: topics.map(aPattern),
  start: start ?? LATEST,
  ...(guarantee === undefined ? {} : { guarantee }),
  ...(ackTimeoutMs === undefined ? {} : { ackTimeoutMs }),
  ...(maxInFlight === undefined ? {} : { maxInFlight }),
});

/** The payloads of an answer, in its order. */
export const payloadsOf = ({ messages }: PollAnswer): readonly string[] =>
  messages.map(({ message }) => message.event.payload);

export const idsOf = ({ messages }: PollAnswer): readonly MessageId[] =>
  messages.map(({ topic, message }) => ({ topic, offset: message.offset }));

export const aClientId = (text: string): ClientId => anIdentity({ clientId: text }).clientId;
