/**
 * Poll: one answer of a long-poll. Reads what there is, or waits for it until the timeout. Nothing is held between two
 * polls, so the next one may reach any instance: what an answer contains is in the journal before the answer leaves.
 */
import type { taskEither as TE } from 'fp-ts';
import { either as E } from 'fp-ts';
import { replay } from '../domain/decider.js';
import { BEGINNING, instantOf, type Cursor, type Recorded } from '../domain/message/offset.js';
import type { MessageId } from '../domain/message/message-id.js';
import { policyOf } from '../domain/delivery/delivery-policy.js';
import type { ClientId, Identity } from '../domain/subscription/client-id.js';
import type { SubscriptionEvent } from '../domain/subscription/subscription-events.js';
import {
  credit,
  isExhausted,
  POLLS,
  selects,
  subscription,
  type Subscription,
  type SubscriptionCommand,
} from '../domain/subscription/subscription.js';
import { floorOf, nextWake } from '../domain/subscription/topic-position.js';
import type { Instant, Milliseconds } from '../domain/time.js';
import type { MessagePublished } from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { mayReceive } from './authorise.js';
import type { DeadLetters } from './dead-letters.js';
import { byTopic } from './ids-of-topic.js';
import type { LiveTopics, Membership } from './live-topics.js';
import type { PrepareOpening, SubscriptionRequest } from './open-subscription.js';
import type { Principal } from './ports/authenticator.js';
import type { Gap } from './ports/client-connection.js';
import type { Clock } from './ports/clock.js';
import type {
  EventStore,
  RetentionSettings,
  StoreUnavailable,
  VersionConflict,
} from './ports/event-store.js';
import type { JournalSignals } from './ports/journal-signals.js';
import type { Metrics } from './ports/metrics.js';
import type { SubscribeRefusal } from './refusals.js';
import type { Sessions } from './sessions.js';
import {
  fold,
  hasLostItsEnd,
  RACES_LOST_MAX,
  silentMsMax,
  unopened,
  type Folded,
  type SubscriptionJournal,
} from './subscription-journal.js';
import type { TopicCatalogue } from './topic-catalogue.js';
import { readNext, type Reading } from './topic-reader.js';

/** The subscription of a principal that polls without naming a client_id. */
export const DEFAULT_CLIENT_ID = 'default' as ClientId;

export interface PollRequest extends SubscriptionRequest {
  readonly clientId: ClientId;
  readonly timeoutMs: Milliseconds;
  readonly messagesMax: number;
}

export interface PolledMessage {
  readonly topic: TopicName;
  readonly message: Recorded<MessagePublished>;
  readonly attempt: number;
}

export interface PollAnswer {
  readonly messages: readonly PolledMessage[];
  readonly gaps: readonly Gap[];
  /** This poll has opened the subscription: it did not exist before, or not any more. */
  readonly isNewSubscription: boolean;
}

export interface PollMessages {
  /** Resolves with messages as soon as there are some, and with none at the timeout or when `gone` is aborted. */
  poll(
    principal: Principal,
    request: PollRequest,
    gone: AbortSignal,
  ): TE.TaskEither<SubscribeRefusal, PollAnswer>;
  /** Answers every poll that waits, now, with what there is; later polls do not wait. */
  drain(): void;
}

export interface PollDependencies {
  readonly store: EventStore;
  readonly journal: SubscriptionJournal;
  readonly liveTopics: LiveTopics;
  readonly sessions: Sessions;
  readonly catalogue: TopicCatalogue;
  readonly prepareOpening: PrepareOpening;
  readonly deadLetters: DeadLetters;
  readonly signals: JournalSignals;
  readonly retention: RetentionSettings;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** From 0 up to 1. */
  readonly random: () => number;
}

/** How long an acknowledgement may go unnoticed by a poll that has no room for what there is. */
const ROOM_CHECK_MS: Milliseconds = 1_000;

/** How long a message that should go to the dead-letter topic waits where that could not be written. */
const BURY_AGAIN_MS: Milliseconds = 1_000;

type Taken = Pick<PollAnswer, 'messages' | 'gaps'>;

const NOTHING: Taken = { messages: [], gaps: [] };

export const makePollMessages = (dependencies: PollDependencies): PollMessages => {
  const { clock, catalogue, metrics, signals } = dependencies;
  const waiting = new Set<Poll>();
  let isDraining = false;

  catalogue.onCreated((topic) => {
    for (const poll of waiting) poll.onTopicCreated(topic);
  });
  signals.onSignal((identity, by) => {
    for (const poll of waiting) if (poll.isOf(identity)) poll.onSignal(by);
  });

  return {
    poll: (principal, request, gone) => async () => {
      const until = clock.now() + (isDraining ? 0 : request.timeoutMs);
      const poll = new Poll(dependencies, principal, request, gone);
      // From here on, so that no topic is missed which comes into being while the subscription is opened.
      waiting.add(poll);
      metrics.connectionOpened('long_poll');
      try {
        return await poll.run(until);
      } finally {
        waiting.delete(poll);
        poll.leave();
        metrics.connectionClosed('long_poll');
      }
    },
    drain: () => {
      isDraining = true;
      for (const poll of waiting) poll.finish();
    },
  };
};

/** Payloads in one answer, in characters; overshot by less than one page. A thousand of the largest would be 1 GB. */
const ANSWER_CHARACTERS_MAX = 4 * 1024 * 1024;

/** A poll under way: a listener of its topics that wakes up when there may be something to answer with. */
class Poll {
  private readonly memberships = new Map<TopicName, Membership>();
  private created: TopicName[] = [];
  private isWoken = false;
  /** Somebody else has written to the journal since it was read. */
  private isStale = false;
  private isFinishing = false;
  private onWake: (() => void) | undefined;
  private readonly onGone = (): void => this.finish();
  private folded: Folded;
  /** False before the subscription is opened, and after a race was lost: `folded` is not what the journal says. */
  private isOpened = false;
  private isNewSubscription = false;

  constructor(
    private readonly dependencies: PollDependencies,
    private readonly principal: Principal,
    private readonly request: PollRequest,
    private readonly gone: AbortSignal,
  ) {
    this.folded = unopened({ principal: principal.id, clientId: request.clientId });
    gone.addEventListener('abort', this.onGone);
  }

  /** Opens and looks; a conflict means that somebody else was faster: it does both anew. */
  async run(until: Instant): Promise<E.Either<SubscribeRefusal, PollAnswer>> {
    for (let racesLost = 0; ;) {
      this.isWoken = false;
      const answer = await this.attempt();
      if (E.isRight(answer)) {
        racesLost = 0;
        const { messages, gaps } = answer.right;
        if (messages.length > 0 || gaps.length > 0 || this.isOver(until)) {
          return E.right({ ...answer.right, isNewSubscription: this.isNewSubscription });
        }
        await this.sleep(until);
      } else if (answer.left._tag !== 'VersionConflict' || ++racesLost === RACES_LOST_MAX) return answer;
      else this.isOpened = false;
    }
  }

  finish(): void {
    this.isFinishing = true;
    this.wake();
  }

  onTopicCreated(topic: TopicName): void {
    if (!this.isAskedFor(topic)) return;
    this.created.push(topic);
    this.wake();
  }

  isOf({ principal, clientId }: Identity): boolean {
    return principal === this.principal.id && clientId === this.request.clientId;
  }

  /** A connection has taken the subscription over, or messages were given back. */
  onSignal(by: string | undefined): void {
    if (by === POLLS) return;
    this.isStale = true;
    this.wake();
  }

  leave(): void {
    this.gone.removeEventListener('abort', this.onGone);
    for (const membership of this.memberships.values()) membership.leave();
  }

  private isOver(until: Instant): boolean {
    return (
      this.isFinishing || this.isSuperseded || this.gone.aborted || this.dependencies.clock.now() >= until
    );
  }

  /** Newer wins: a connection that has taken the subscription over while this poll waited keeps it. */
  private get isSuperseded(): boolean {
    const { isOpen, session } = this.folded.state;
    return isOpen && session !== POLLS;
  }

  private wake(): void {
    this.isWoken = true;
    this.onWake?.();
  }

  /** Joins first and looks second: what is published meanwhile wakes the poll up. */
  private async attempt(): Promise<E.Either<SubscribeRefusal, Taken>> {
    const opened = this.isOpened ? await this.refreshed() : await this.open();
    if (E.isLeft(opened)) return opened;
    this.folded = opened.right;
    this.isOpened = true;
    const joined = await this.join();
    if (E.isLeft(joined)) return joined;
    // Whom nobody waits for takes nothing: at-most-once would lose it.
    return this.gone.aborted || this.isSuperseded ? E.right(NOTHING) : this.take();
  }

  private async open(): Promise<E.Either<SubscribeRefusal, Folded>> {
    const { journal, sessions, prepareOpening, signals, clock, retention } = this.dependencies;
    const { identity, state } = this.folded;
    const superseded = state.isOpen
      ? E.right(undefined)
      : await sessions.supersede(this.principal, identity, this.request, POLLS)();
    if (E.isLeft(superseded)) return superseded;
    const loaded = await journal.load(identity)();
    if (E.isLeft(loaded)) return loaded;
    const { isOpen, session } = loaded.right.state;
    if (state.isOpen && isOpen && session !== POLLS) return loaded;
    const command = await prepareOpening(this.principal, loaded.right.state, this.request, POLLS)();
    if (E.isLeft(command)) return command;
    const events = subscription.decide(loaded.right.state, command.right);
    if (E.isLeft(events)) return events;
    const isSilent = clock.now() - instantOf(loaded.right.at.offset) > silentMsMax(retention);
    const renewed: readonly SubscriptionEvent[] =
      events.right.length === 0 && isSilent ? [{ type: 'SessionStarted', session: POLLS }] : events.right;
    const appended = await journal.append(loaded.right, renewed)();
    if (E.isRight(appended) && !isOpen) this.isNewSubscription = true;
    // Whoever held it on a connection, on whichever instance, is to know.
    if (E.isRight(appended) && isOpen && session !== POLLS) signals.send(identity, POLLS);
    return appended;
  }

  /** Acknowledgements wake nobody up: without room for more, the journal is asked for them. */
  private async refreshed(): Promise<E.Either<SubscribeRefusal, Folded>> {
    if (credit(this.folded.state) > 0 && !this.isStale) return E.right(this.folded);
    this.isStale = false;
    const since = await this.dependencies.journal.since(this.folded)();
    if (E.isLeft(since)) return since;
    return hasLostItsEnd(this.folded, since.right) ? this.open() : E.right(fold(this.folded, since.right));
  }

  /** Until something happens, an acknowledgement is overdue, or the time is up. */
  private sleep(until: Instant): Promise<void> {
    const { clock } = this.dependencies;
    if (this.isWoken) return Promise.resolve();
    const now = clock.now();
    let wakeAt = until;
    for (const [topic, membership] of this.memberships) {
      const position = this.folded.state.positions.get(topic);
      if (position === undefined) continue;
      wakeAt = Math.min(wakeAt, nextWake(position) ?? until);
      // There is more, but no room for it.
      if ((membership.head()?.offset ?? 0) > position.next.offset)
        wakeAt = Math.min(wakeAt, now + ROOM_CHECK_MS);
    }
    return new Promise((resolve) => {
      const cancel = clock.after(Math.max(0, wakeAt - now), resolve);
      this.onWake = () => {
        cancel();
        resolve();
      };
    });
  }

  private isAskedFor(topic: TopicName): boolean {
    return selects(this.request.topics, topic) && mayReceive(this.principal, topic);
  }

  private async join(): Promise<E.Either<StoreUnavailable, void>> {
    for (const topic of [...this.folded.state.positions.keys(), ...this.created]) {
      if (this.memberships.has(topic) || !this.isAskedFor(topic)) continue;
      const membership = this.dependencies.liveTopics.join(topic, {
        onBatch: () => {
          this.wake();
          return 0;
        },
        onLost: () => this.wake(),
        lag: (head) => this.lag(topic, head),
      });
      this.memberships.set(topic, membership);
    }
    for (const { joined } of this.memberships.values()) {
      const outcome = await joined;
      if (E.isLeft(outcome)) return outcome;
    }
    return E.right(undefined);
  }

  private lag(topic: TopicName, head: Cursor): number {
    const position = this.folded.state.positions.get(topic);
    return position === undefined ? 0 : Math.max(0, head.n - floorOf(position).n);
  }

  /** Takes what there is and records that it was given, in this order of safety: nothing is answered unrecorded. */
  private async take(): Promise<E.Either<StoreUnavailable | VersionConflict, Taken>> {
    const { clock, journal, metrics, random } = this.dependencies;
    const taking = new Taking(this.folded.state, clock.now());
    const starts = this.created.map((topic) => ({ topic, at: BEGINNING }));
    this.created = [];
    taking.apply({ type: 'Follow', starts });
    taking.apply({ type: 'Expire', now: taking.now, jitter: random() });
    const topics = this.inTurn();
    const room = Math.min(this.request.messagesMax, credit(taking.state));
    // An equal share for each topic first, so that a busy one leaves something for the others; then what is left.
    for (const share of [Math.ceil(Math.max(1, room) / topics.length), this.request.messagesMax]) {
      for (const topic of topics) {
        const failure = await this.takeFrom(topic, taking, share);
        if (failure !== undefined) return E.left(failure);
      }
    }
    const appended = await journal.append(this.folded, taking.events)();
    if (E.isLeft(appended)) return appended;
    this.folded = appended.right;
    if (this.gone.aborted) return this.giveBack(taking);
    this.count(taking);
    const last = taking.messages[taking.messages.length - 1];
    if (last !== undefined) {
      metrics.messagesDelivered(
        'long_poll',
        taking.messages.length,
        clock.now() - instantOf(last.message.offset),
      );
    }
    return E.right({ messages: taking.messages, gaps: taking.gaps });
  }

  private count({ messages, gaps, expired }: Taking): void {
    const { metrics } = this.dependencies;
    const redelivered = messages.filter(({ attempt }) => attempt > 1).length;
    if (redelivered > 0) metrics.messagesRedelivered(redelivered);
    if (expired > 0) metrics.messagesExpired(expired);
    for (const { reason, from, to } of gaps) metrics.gapTold(reason, Math.max(0, to.n - from.n));
  }

  /** The topic that is furthest behind first, so that a busy one does not starve the others. */
  private inTurn(): readonly TopicName[] {
    const behind = (topic: TopicName): number => this.folded.state.positions.get(topic)?.next.offset ?? 0;
    return [...this.memberships.keys()].sort((a, b) => behind(a) - behind(b));
  }

  private async takeFrom(
    topic: TopicName,
    taking: Taking,
    share: number,
  ): Promise<StoreUnavailable | undefined> {
    const { deadLetters } = this.dependencies;
    const until = Math.min(taking.messages.length + share, this.request.messagesMax);
    for (;;) {
      const position = taking.state.positions.get(topic);
      const most = until - taking.messages.length;
      if (position === undefined || most <= 0 || taking.isLarge) return undefined;
      const head = this.memberships.get(topic)?.head();
      const lossesToldTo = taking.gaps.findLast((gap) => gap.topic === topic)?.to.offset;
      const room = { most, fresh: credit(taking.state), lossesToldTo };
      const reading = await readNext(this.dependencies, topic, position, head, room, taking.now)();
      if (E.isLeft(reading)) return reading.left;
      if (reading.right === undefined) return undefined;
      const { attempt } = reading.right;
      if (isExhausted(taking.state.settings, attempt) && deadLetters.mayGiveUp(topic)) {
        await this.giveUp(topic, taking, reading.right);
      } else taking.add(topic, reading.right);
    }
  }

  /** Delivered as often as it may be. Where it cannot be published now, it waits, and what is behind it does not. */
  private async giveUp(topic: TopicName, taking: Taking, reading: Reading): Promise<void> {
    const { deadLetters, random } = this.dependencies;
    const offsets = reading.messages.map(({ offset }) => offset);
    const letters = reading.messages.map((message) => ({ message, attempts: reading.attempt - 1 }));
    const buried = await deadLetters.bury(this.folded.identity, topic, letters, 'max_deliveries')();
    taking.add(topic, { ...reading, messages: [] });
    taking.apply(
      E.isRight(buried)
        ? { type: 'DeadLetter', topic, offsets, reason: 'max_deliveries' }
        : { type: 'Reject', topic, offsets, delayMs: BURY_AGAIN_MS, now: taking.now, jitter: random() },
    );
  }

  /** Nobody is there to receive what was taken: due again at once. At-most-once has lost it, as it says. */
  private async giveBack({ messages, now }: Taking): Promise<E.Either<never, Taken>> {
    const { journal, metrics } = this.dependencies;
    if (policyOf(this.folded.state.guarantee).recordsBeforeSend) {
      metrics.messagesDropped('connection_lost', messages.length);
      return E.right(NOTHING);
    }
    const returning = { type: 'Reject', delayMs: 0, now, jitter: 0 } as const;
    for (const { topic, offsets } of byTopic(messages.map(toId))) {
      // Where this fails as well, they are due when their time is up.
      await journal.execute(this.folded.identity, { ...returning, topic, offsets })();
    }
    return E.right(NOTHING);
  }
}

const toId = ({ topic, message }: PolledMessage): MessageId => ({ topic, offset: message.offset });

/** What one attempt takes: the events so far, the state after them, and the messages to answer with. */
class Taking {
  readonly events: SubscriptionEvent[] = [];
  readonly messages: PolledMessage[] = [];
  readonly gaps: Gap[] = [];
  /** How many were left out because their time was over. */
  expired = 0;
  private characters = 0;

  constructor(
    public state: Subscription,
    readonly now: Instant,
  ) {}

  apply(command: SubscriptionCommand): void {
    const decided = subscription.decide(this.state, command);
    if (E.isLeft(decided)) throw new Error(`a poll only asks for what it may: ${decided.left._tag}`);
    this.events.push(...decided.right);
    this.state = replay(subscription, this.state, decided.right);
  }

  /** Enough for one answer; the rest comes with the next poll. */
  get isLarge(): boolean {
    return this.characters >= ANSWER_CHARACTERS_MAX;
  }

  add(topic: TopicName, { messages, attempt, next, dropped, gap, expired }: Reading): void {
    if (gap !== undefined) this.gaps.push(gap);
    this.expired += expired;
    if (dropped.length > 0) this.apply({ type: 'Acknowledge', topic, offsets: dropped });
    const cursors = messages.map(({ offset, n }) => ({ offset, n }));
    this.apply({ type: 'Dispatch', topic, next, cursors, attempt, now: this.now });
    for (const message of messages) {
      this.messages.push({ topic, message, attempt });
      this.characters += message.event.payload.length;
    }
  }
}
