/**
 * The use cases of one instance, on memory adapters and a clock that stands still. Several instances may share a
 * backend: they then meet in its store, as proxies meet in Valkey.
 */
import { makeDeadLetters, type DeadLetters } from '../../application/dead-letters.js';
import { LiveTopics } from '../../application/live-topics.js';
import {
  makePrepareOpening,
  type PrepareOpening,
  type SubscriptionRequest,
} from '../../application/open-subscription.js';
import {
  Caller,
  makePollMessages,
  type PollAnswer,
  type PollMessages,
  type PollRequest,
} from '../../application/poll-messages.js';
import type { Principal } from '../../application/ports/authenticator.js';
import {
  topicStream,
  type RetentionSettings,
  type StoredEvent,
  type Stream,
} from '../../application/ports/event-store.js';
import { makeSettleMessages, type SettleMessages } from '../../application/settle-messages.js';
import type { Settling } from '../../application/settling.js';
import type { Session } from '../../application/session.js';
import { Sessions } from '../../application/sessions.js';
import {
  makeSubscriptionJournal,
  type Folded,
  type SubscriptionJournal,
} from '../../application/subscription-journal.js';
import { forgettingIntervalMs, TopicCatalogue } from '../../application/topic-catalogue.js';
import type { MessageId } from '../../domain/message/message-id.js';
import type { ClientId, Identity } from '../../domain/subscription/client-id.js';
import { LATEST } from '../../domain/subscription/start.js';
import type { Recorded } from '../../domain/message/offset.js';
import type {
  SubscriptionEvent,
  SubscriptionSettings,
} from '../../domain/subscription/subscription-events.js';
import type { Subscription } from '../../domain/subscription/subscription.js';
import type { MessagePublished } from '../../domain/topic/topic-events.js';
import { EventLog } from '../../infrastructure/memory/event-log.js';
import { MemoryEventFeed } from '../../infrastructure/memory/memory-event-feed.js';
import { MemoryEventStore } from '../../infrastructure/memory/memory-event-store.js';
import { MemoryJournalSignals } from '../../infrastructure/memory/memory-journal-signals.js';
import { streamKey } from '../../infrastructure/memory/stream-key.js';
import { aMessage, anIdentity, aPattern, aTopic, someRetention, someSettings } from './builders.js';
import { ManualClock } from './manual-clock.js';
import { aPrincipal } from './principals.js';
import { RecordingConnection } from './recording-connection.js';
import { settle } from './settle.js';
import { SilentLogger, SilentMetrics } from './silent.js';
import { right } from './task-either.js';
import { UnreliableFeed } from './unreliable-feed.js';
import { UnreliableSignals } from './unreliable-signals.js';
import { UnreliableStore } from './unreliable-store.js';

/** What all instances share. */
export class Backend {
  readonly clock = new ManualClock();
  readonly retention: RetentionSettings;
  readonly signals = new MemoryJournalSignals();
  readonly store: MemoryEventStore;

  constructor(retention: Partial<RetentionSettings> = {}) {
    this.retention = someRetention(retention);
    this.store = new MemoryEventStore(this.clock, this.retention);
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

  /** Has a journal hold exactly these events, as after a restart of a storage that has lost something. */
  replaceJournal(stream: Stream<SubscriptionEvent>, recorded: readonly Recorded<SubscriptionEvent>[]): void {
    const log = new EventLog<StoredEvent>();
    for (const each of recorded) log.push(each);
    // No store offers this: it is what happens to one.
    const { entries } = this.store as unknown as { readonly entries: Map<string, unknown> };
    if (recorded.length === 0) entries.delete(streamKey(stream));
    else entries.set(streamKey(stream), { stream, log });
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
  /** Where messages go that are given up. */
  readonly deadLetterTopic?: string;
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
  readonly signals: UnreliableSignals;
  readonly logger = new SilentLogger();
  readonly metrics = new SilentMetrics();
  readonly journal: SubscriptionJournal;
  readonly liveTopics: LiveTopics;
  readonly catalogue: TopicCatalogue;
  readonly prepareOpening: PrepareOpening;
  readonly sessions: Sessions;
  readonly polls: PollMessages;
  readonly deadLetters: DeadLetters;
  readonly settleMessages: SettleMessages;

  constructor(
    readonly backend: Backend,
    { settings = {}, topicsMax = 50, deadLetterTopic = 'dlq.{topic}' }: InstanceOptions = {},
  ) {
    const { clock, retention } = backend;
    this.signals = new UnreliableSignals(backend.signals);
    this.store = new UnreliableStore(backend.store);
    this.feed = new UnreliableFeed(new MemoryEventFeed(backend.store));
    this.journal = makeSubscriptionJournal({ store: this.store, signals: this.signals, clock });
    this.liveTopics = new LiveTopics(this.feed, clock, this.metrics);
    this.catalogue = new TopicCatalogue(
      this.store,
      this.feed,
      clock,
      forgettingIntervalMs(backend.retention),
    );
    const { store, signals, journal, liveTopics, logger, metrics, catalogue } = this;
    this.prepareOpening = makePrepareOpening(
      { store, catalogue, clock, retention },
      { settings: someSettings(settings), topicsMax },
    );
    this.deadLetters = makeDeadLetters(
      { store, clock, metrics, logger },
      { template: deadLetterTopic, rememberedMs: 300_000 },
    );
    const { prepareOpening, deadLetters } = this;
    // In the middle: delays that are jittered come out as they are configured.
    const random = (): number => 0.5;
    const common = { store, journal, liveTopics, catalogue, prepareOpening, deadLetters, signals, retention };
    const ids = { next: () => `session-${++idsGiven}` };
    this.sessions = new Sessions({ ...common, ids, clock, metrics, logger, random });
    const { sessions } = this;
    sessions.start();
    this.polls = makePollMessages({ ...common, sessions, clock, metrics, random });
    this.settleMessages = makeSettleMessages({ ...common, sessions, clock, metrics, random });
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

  /** Polls and waits for the answer. */
  poll(wanted: WantedPoll = {}, caller = new Caller()): Promise<PollAnswer> {
    return right(this.polling(wanted, caller));
  }

  polling(wanted: WantedPoll = {}, caller = new Caller()): ReturnType<PollMessages['poll']> {
    const request: PollRequest = {
      ...toRequest(wanted),
      clientId: identityOf(wanted).clientId,
      timeoutMs: wanted.timeoutMs ?? 0,
      messagesMax: wanted.max ?? 100,
    };
    return this.polls.poll(wanted.principal ?? aPrincipal(), request, caller);
  }

  acknowledge(ids: readonly MessageId[], wanted: Wanted = {}): ReturnType<SettleMessages> {
    return this.settle({ type: 'Acknowledge', ids }, wanted);
  }

  settle(settling: Settling, wanted: Wanted = {}): ReturnType<SettleMessages> {
    return this.settleMessages(wanted.principal ?? aPrincipal(), identityOf(wanted).clientId, settling);
  }

  /** The subscription as its journal tells it. */
  async recorded(wanted: Wanted = {}): Promise<Subscription> {
    return (await this.folded(wanted)).state;
  }

  folded(wanted: Wanted = {}): Promise<Folded> {
    const { store, signals, clock } = this.backend;
    return right(makeSubscriptionJournal({ store, signals, clock }).load(identityOf(wanted)));
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
