/**
 * Poll: one answer of a long-poll. Reads what there is, or waits for it until the timeout. Nothing is held between two
 * polls, so the next one may reach any instance: what an answer contains is in the journal before the answer leaves.
 */
import type { taskEither as TE } from 'fp-ts';
import { either as E } from 'fp-ts';
import { BEGINNING, instantOf, toCursor, type Cursor, type Recorded } from '../domain/message/offset.js';
import type { MessageId } from '../domain/message/message-id.js';
import { policyOf } from '../domain/delivery/delivery-policy.js';
import type { ClientId, Identity } from '../domain/subscription/client-id.js';
import type { SubscriptionEvent, TopicStart } from '../domain/subscription/subscription-events.js';
import {
  credit,
  isExhausted,
  POLLS,
  selects,
  subscription,
  type Subscription,
} from '../domain/subscription/subscription.js';
import { floorOf, nextWake, type TopicPosition } from '../domain/subscription/topic-position.js';
import type { Instant, Milliseconds } from '../domain/time.js';
import type { MessagePublished } from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { mayReceive } from './authorise.js';
import { BURY_AGAIN_MS, type DeadLetters } from './dead-letters.js';
import { byTopic } from './ids-of-topic.js';
import { LinkedList, type Linked } from './linked-list.js';
import type { LiveTopics, Membership, TopicListener } from './live-topics.js';
import type { PrepareOpening, SubscriptionRequest } from './open-subscription.js';
import type { Principal } from './ports/authenticator.js';
import type { Gap, MessageBatch } from './ports/client-connection.js';
import type { Cancel, Clock } from './ports/clock.js';
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
import { SubscriptionDraft } from './subscription-draft.js';
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
import { hasNext, readNext, toldNext, type Reading } from './topic-reader.js';

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

/** Who waits for the answer of a poll, and may hang up. Less than an AbortSignal, of which thousands would be held. */
export class Caller {
  /** What is to come to an end where nobody waits for it. */
  waitsFor: { finish(): void } | undefined = undefined;
  private hasHungUp = false;

  get isGone(): boolean {
    return this.hasHungUp;
  }

  hangUp(): void {
    this.hasHungUp = true;
    this.waitsFor?.finish();
  }
}

export interface PollMessages {
  /** Resolves with messages as soon as there are some, and with none at the timeout or when the caller hangs up. */
  poll(
    principal: Principal,
    request: PollRequest,
    caller: Caller,
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

/** How soon the journal is looked at again where there was no room for what there is, or where it could not be read. */
const LOOK_AGAIN_MS: Milliseconds = 1_000;

type Taken = Pick<PollAnswer, 'messages' | 'gaps'>;

const NOTHING: Taken = { messages: [], gaps: [] };

/** Shared by all polls, of which most follow one topic and hear of no new one. */
const NONE: readonly never[] = [];

export const makePollMessages = (dependencies: PollDependencies): PollMessages => {
  const { clock, catalogue, signals } = dependencies;
  const polls = new LinkedList<Poll>();
  const woken = new WokenPolls();
  let isDraining = false;

  catalogue.onCreated((topic) => {
    polls.forEach((poll) => poll.onTopicCreated(topic));
  });
  signals.onSignal((identity, by) => {
    if (by === POLLS) return;
    polls.forEach((poll) => {
      if (poll.isOf(identity)) poll.onSignal();
    });
  });
  signals.onMissed(() => polls.forEach((poll) => poll.onSignal()));

  return {
    poll: (principal, request, caller) => () =>
      new Promise((answer) => {
        const until = clock.now() + (isDraining ? 0 : request.timeoutMs);
        new Poll(dependencies, principal, request, caller, until, answer, polls, woken).begin();
      }),
    drain: () => {
      isDraining = true;
      polls.forEach((poll) => poll.finish());
    },
  };
};

/** Polls that were woken up: they look together, once whoever woke them up is done with telling everybody. */
class WokenPolls {
  private polls: Poll[] = [];

  add(poll: Poll): void {
    if (this.polls.push(poll) > 1) return;
    queueMicrotask(() => {
      const { polls } = this;
      this.polls = [];
      for (const each of polls) void each.look();
    });
  }
}

/** Payloads in one answer, in characters; overshot by less than one page. A thousand of the largest would be 1 GB. */
const ANSWER_CHARACTERS_MAX = 4 * 1024 * 1024;

type Outcome = E.Either<SubscribeRefusal, PollAnswer>;

/**
 * A poll under way: a listener of its topics that wakes up when there may be something to answer with. One that waits is
 * this object and a timer: a promise or an async function for each would be held as well, and by the thousand they are
 * most of what the collector of garbage has to move.
 */
class Poll implements Linked<Poll> {
  next: Poll | undefined = undefined;
  previous: Poll | undefined = undefined;
  private followed: Followed[] = NOBODY;
  /** Topics that have come into being since it looked; there may be thousands at once, and mostly there is none. */
  private created: TopicName[] | undefined = undefined;
  private isWoken = false;
  /** Defined while it waits. */
  private cancelTimer: Cancel | undefined = undefined;
  /** Somebody else has written to the journal since it was read. */
  private isStale = false;
  private isFinishing = false;
  private folded: Folded;
  /** False before the subscription is opened, and after a race was lost: `folded` is not what the journal says. */
  private isOpened = false;
  private isNewSubscription = false;

  constructor(
    private readonly dependencies: PollDependencies,
    private readonly principal: Principal,
    private readonly request: PollRequest,
    private readonly caller: Caller,
    private readonly until: Instant,
    /** A promise that rejects is handed on. */
    private readonly answer: (outcome: Outcome | Promise<Outcome>) => void,
    private readonly polls: LinkedList<Poll>,
    private readonly woken: WokenPolls,
  ) {
    this.folded = unopened({ principal: principal.id, clientId: request.clientId });
  }

  begin(): void {
    this.caller.waitsFor = this;
    // From here on, so that no topic is missed which comes into being while the subscription is opened.
    this.polls.add(this);
    this.dependencies.metrics.connectionOpened('long_poll');
    void this.look();
  }

  private end(outcome: Outcome | Promise<Outcome>): void {
    // First, so that whatever goes wrong behind it leaves nobody without an answer.
    this.answer(outcome);
    this.polls.remove(this);
    this.caller.waitsFor = undefined;
    for (const { membership } of this.followed) membership.leave();
    this.dependencies.metrics.connectionClosed('long_poll');
  }

  /**
   * Answers, or waits until somebody wakes it up. A conflict means that somebody else was faster: it opens and looks anew.
   * Never rejects.
   */
  async look(): Promise<void> {
    let outcome: Outcome | Promise<Outcome>;
    try {
      for (let racesLost = 0; ;) {
        this.isWoken = false;
        let taken: Taken = NOTHING;
        let refusal = this.isReady || this.isRecalledReady() ? undefined : await this.makeReady();
        // Whom nobody waits for takes nothing: at-most-once would lose it.
        if (refusal === undefined && !this.isAbandoned() && !this.isSuperseded) {
          const taking = this.beginTaking();
          if (!this.takeTold(taking) && this.hasMore(taking)) refusal = await this.takeStored(taking);
          if (refusal === undefined && taking.draft.events.length > 0) refusal = await this.record(taking);
          if (refusal === undefined)
            taken = this.isAbandoned() ? await this.giveBack(taking) : this.given(taking);
        }
        if (refusal === undefined) {
          racesLost = 0;
          const { messages, gaps } = taken;
          if (messages.length > 0 || gaps.length > 0 || this.isOver()) {
            outcome = E.right({ messages, gaps, isNewSubscription: this.isNewSubscription });
            break;
          }
          if (this.waits()) return;
        } else if (refusal._tag !== 'VersionConflict' || ++racesLost === RACES_LOST_MAX) {
          outcome = E.left(refusal);
          break;
        } else this.isOpened = false;
      }
    } catch (error) {
      outcome = failure(error);
    }
    this.end(outcome);
  }

  finish(): void {
    this.isFinishing = true;
    this.wake();
  }

  onTopicCreated(topic: TopicName): void {
    if (!this.isAskedFor(topic)) return;
    if (this.created === undefined) this.created = [topic];
    else this.created.push(topic);
    this.wake();
  }

  isOf({ principal, clientId }: Identity): boolean {
    return principal === this.principal.id && clientId === this.request.clientId;
  }

  /** A connection has taken the subscription over, or messages were given back. */
  onSignal(): void {
    this.isStale = true;
    this.wake();
  }

  private isOver(): boolean {
    const { isFinishing, isSuperseded, dependencies, until } = this;
    return isFinishing || isSuperseded || this.isAbandoned() || dependencies.clock.now() >= until;
  }

  private isAbandoned(): boolean {
    return this.caller.isGone;
  }

  /** Newer wins: a connection that has taken the subscription over while this poll waited keeps it. */
  private get isSuperseded(): boolean {
    const { isOpen, session } = this.folded.state;
    return isOpen && session !== POLLS;
  }

  wake(): void {
    this.isWoken = true;
    if (this.cancelTimer === undefined) return;
    this.cancelTimer();
    this.cancelTimer = undefined;
    this.woken.add(this);
  }

  /** Open, and told of everything that it asks for. */
  private get isReady(): boolean {
    return this.isOpened && !this.isToBeRefreshed && this.created === undefined;
  }

  /** HOT PATH: made ready at once, by what this instance knows. */
  private isRecalledReady(): boolean {
    if (this.isOpened) return false;
    const { prepareOpening, sessions } = this.dependencies;
    const { identity } = this.folded;
    const recalled = this.recalled();
    if (recalled === undefined || this.isSilent(recalled) || sessions.find(identity) !== undefined)
      return false;
    if (!prepareOpening.isDone(this.principal, recalled.state, this.request, POLLS)) return false;
    this.folded = recalled;
    this.isOpened = true;
    for (const topic of recalled.state.positions.keys()) this.follow(topic);
    for (const { membership } of this.followed) if (membership.head() === undefined) return false;
    return this.created === undefined;
  }

  /** For so long that whoever uses it had better write to its journal, lest it be forgotten. */
  private isSilent({ at }: Folded): boolean {
    const { clock, retention } = this.dependencies;
    return clock.now() - instantOf(at.offset) > silentMsMax(retention);
  }

  /** Joins first, and only then is looked what there is: what is published meanwhile wakes the poll up. */
  private async makeReady(): Promise<SubscribeRefusal | undefined> {
    if (!this.isOpened || this.isToBeRefreshed) {
      const opened = this.isOpened ? await this.refreshed() : await this.open();
      if (E.isRight(opened)) {
        this.folded = opened.right;
        this.isOpened = true;
      } else if (!this.isOpened || opened.left._tag !== 'StoreUnavailable') return opened.left;
      // It is open and waits: the storage may be away for as long as it does.
      else this.isStale = true;
    }
    for (const topic of this.folded.state.positions.keys()) this.follow(topic);
    for (const topic of this.created ?? NONE) this.follow(topic);
    for (const { membership } of this.followed) {
      if (membership.head() !== undefined) continue;
      const joined = await membership.joined;
      if (E.isLeft(joined)) return joined.left;
    }
    return undefined;
  }

  private follow(topic: TopicName): void {
    if (this.followed.some((each) => each.topic === topic) || !this.isAskedFor(topic)) return;
    const followed = new Followed(topic, this, this.dependencies.liveTopics);
    if (this.followed.length === 0) this.followed = [followed];
    else this.followed.push(followed);
  }

  private async open(): Promise<E.Either<SubscribeRefusal, Folded>> {
    const { journal, sessions, prepareOpening, signals } = this.dependencies;
    const { identity, state } = this.folded;
    if (!state.isOpen && sessions.find(identity) !== undefined) {
      const superseded = await sessions.supersede(this.principal, identity, this.request, POLLS)();
      if (E.isLeft(superseded)) return superseded;
    }
    const recalled = this.recalled();
    const loaded = recalled === undefined ? await journal.load(identity)() : E.right(recalled);
    if (E.isLeft(loaded)) return loaded;
    const { isOpen, session } = loaded.right.state;
    if (state.isOpen && isOpen && session !== POLLS) return loaded;
    const command = await prepareOpening(this.principal, loaded.right.state, this.request, POLLS)();
    if (E.isLeft(command)) return command;
    const starts = command.right.starts.map((start) => this.fromItsBegin(start));
    const events = subscription.decide(loaded.right.state, { ...command.right, starts });
    if (E.isLeft(events)) return events;
    const renewed: readonly SubscriptionEvent[] =
      events.right.length === 0 && this.isSilent(loaded.right)
        ? [{ type: 'SessionStarted', session: POLLS }]
        : events.right;
    const appended = await journal.append(loaded.right, renewed)();
    if (E.isRight(appended) && !isOpen) this.isNewSubscription = true;
    // Whoever held it on a connection, on whichever instance, is to know.
    if (E.isRight(appended) && isOpen && session !== POLLS) signals.send(identity, POLLS);
    return appended;
  }

  /**
   * A poll that was recalled finds out late that its subscription was lost: what `latest` is now may be behind messages
   * that came since it began.
   */
  private fromItsBegin(start: TopicStart): TopicStart {
    const at = this.followed.find(({ topic }) => topic === start.topic)?.headAtBegin;
    const isLatest = this.request.start.at === 'latest';
    return isLatest && at !== undefined && at.offset < start.at.offset ? { ...start, at } : start;
  }

  /**
   * The subscription as it was a moment ago, for a poll that waits: what was given back since wakes it up, and nothing is
   * answered that the append has not found to be so. Without room it may have been acknowledged since, of which nobody
   * tells; and whoever does not wait is to have what there is.
   */
  private recalled(): Folded | undefined {
    if (this.request.timeoutMs === 0) return undefined;
    const recalled = this.dependencies.journal.recall(this.folded.identity);
    return recalled !== undefined && credit(recalled.state) > 0 ? recalled : undefined;
  }

  /** Acknowledgements wake nobody up: without room for more, the journal is asked for them. */
  private get isToBeRefreshed(): boolean {
    return this.isStale || credit(this.folded.state) === 0;
  }

  private async refreshed(): Promise<E.Either<SubscribeRefusal, Folded>> {
    this.isStale = false;
    const since = await this.dependencies.journal.since(this.folded)();
    if (E.isLeft(since)) return since;
    return hasLostItsEnd(this.folded, since.right) ? this.open() : E.right(fold(this.folded, since.right));
  }

  /**
   * Until something happens, an acknowledgement is overdue, or the time is up. False where something has happened while it
   * looked.
   */
  private waits(): boolean {
    if (this.isWoken) return false;
    const { dependencies, until } = this;
    const now = dependencies.clock.now();
    let wakeAt = this.isStale ? Math.min(until, now + LOOK_AGAIN_MS) : until;
    for (const { topic, membership } of this.followed) {
      const position = this.positionIn(topic);
      if (position === undefined) continue;
      wakeAt = Math.min(wakeAt, nextWake(position) ?? until);
      // There is more, but no room for it.
      if ((membership.head()?.offset ?? 0) > position.next.offset)
        wakeAt = Math.min(wakeAt, now + LOOK_AGAIN_MS);
    }
    this.cancelTimer = dependencies.clock.after(Math.max(0, wakeAt - now), () => this.wake());
    return true;
  }

  positionIn(topic: TopicName): TopicPosition | undefined {
    return this.folded.state.positions.get(topic);
  }

  private isAskedFor(topic: TopicName): boolean {
    return selects(this.request.topics, topic) && mayReceive(this.principal, topic);
  }

  private beginTaking(): Taking {
    const { clock, random } = this.dependencies;
    const taking = new Taking(this.folded.state, clock.now());
    const { draft, now } = taking;
    if (this.created !== undefined) {
      draft.apply({ type: 'Follow', starts: this.created.map((topic) => ({ topic, at: BEGINNING })) });
      this.created = undefined;
    }
    draft.apply({ type: 'Expire', now, jitter: random() });
    return taking;
  }

  /** HOT PATH: the only topic has just told what comes next, and nothing else is to be thought of. */
  private takeTold(taking: Taking): boolean {
    const [only] = this.followed;
    if (only === undefined || this.followed.length > 1) return false;
    const told = only.takeTold();
    if (told === undefined) return false;
    const position = taking.draft.state.positions.get(only.topic);
    if (position === undefined) return false;
    const room = { most: this.request.messagesMax, fresh: credit(taking.draft.state) };
    const reading = toldNext(position, told, room);
    if (reading !== undefined) taking.add(only.topic, reading);
    return reading !== undefined;
  }

  /** Is there anything in the store to be taken? */
  private hasMore({ draft, now }: Taking): boolean {
    const room = { most: this.request.messagesMax, fresh: credit(draft.state) };
    return this.followed.some(({ topic, membership }) => {
      const position = draft.state.positions.get(topic);
      return position !== undefined && hasNext(position, membership.head(), room, now);
    });
  }

  private async takeStored(taking: Taking): Promise<StoreUnavailable | undefined> {
    const followed = this.inTurn();
    const { messagesMax } = this.request;
    const room = Math.min(messagesMax, credit(taking.draft.state));
    // An equal share for each topic first, so that a busy one leaves something for the others; then what is left.
    for (const share of [Math.ceil(Math.max(1, room) / followed.length), messagesMax]) {
      for (const each of followed) {
        const failure = await this.takeFrom(each, taking, share);
        if (failure !== undefined) return failure;
      }
    }
    return undefined;
  }

  /** Nothing is answered that is not recorded. */
  private async record({ draft }: Taking): Promise<StoreUnavailable | VersionConflict | undefined> {
    const appended = await this.dependencies.journal.append(this.folded, draft.events, {
      state: draft.state,
    })();
    if (E.isLeft(appended)) return appended.left;
    this.folded = appended.right;
    return undefined;
  }

  private given(taking: Taking): Taken {
    const { metrics, clock } = this.dependencies;
    const { messages, gaps, redelivered, expired } = taking;
    if (redelivered > 0) metrics.messagesRedelivered(redelivered);
    if (expired > 0) metrics.messagesExpired(expired);
    for (const { reason, from, to } of gaps) metrics.gapTold(reason, Math.max(0, to.n - from.n));
    const last = messages[messages.length - 1];
    if (last !== undefined) {
      metrics.messagesDelivered('long_poll', messages.length, clock.now() - instantOf(last.message.offset));
    }
    return taking;
  }

  /** The topic that is furthest behind first, so that a busy one does not starve the others. */
  private inTurn(): readonly Followed[] {
    if (this.followed.length < 2) return this.followed;
    const behind = ({ topic }: Followed): number => this.positionIn(topic)?.next.offset ?? 0;
    return [...this.followed].sort((a, b) => behind(a) - behind(b));
  }

  private async takeFrom(
    { topic, membership }: Followed,
    taking: Taking,
    share: number,
  ): Promise<StoreUnavailable | undefined> {
    const { deadLetters } = this.dependencies;
    const { draft, now } = taking;
    const until = Math.min(taking.messages.length + share, this.request.messagesMax);
    for (;;) {
      const position = draft.state.positions.get(topic);
      const most = until - taking.messages.length;
      if (position === undefined || most <= 0 || taking.isLarge) return undefined;
      const head = membership.head();
      const lossesToldTo = taking.gaps.findLast((gap) => gap.topic === topic)?.to.offset;
      const room = { most, fresh: credit(draft.state), lossesToldTo };
      if (!hasNext(position, head, room, now)) return undefined;
      const reading = await readNext(this.dependencies, topic, position, head, room, now)();
      if (E.isLeft(reading)) return reading.left;
      if (reading.right === undefined) return undefined;
      const { attempt } = reading.right;
      if (isExhausted(draft.state.settings, attempt) && deadLetters.mayGiveUp(topic)) {
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
    taking.draft.apply(
      E.isRight(buried)
        ? { type: 'DeadLetter', topic, offsets, reason: 'max_deliveries' }
        : { type: 'Reject', topic, offsets, delayMs: BURY_AGAIN_MS, now: taking.now, jitter: random() },
    );
  }

  /** Nobody is there to receive what was taken: due again at once. At-most-once has lost it, as it says. */
  private async giveBack({ messages, now }: Taking): Promise<Taken> {
    const { journal, metrics, signals } = this.dependencies;
    if (policyOf(this.folded.state.guarantee).recordsBeforeSend) {
      metrics.messagesDropped('connection_lost', messages.length);
      return NOTHING;
    }
    const returning = { type: 'Reject', delayMs: 0, now, jitter: 0 } as const;
    for (const { topic, offsets } of byTopic(messages.map(toId))) {
      // Where this fails as well, they are due when their time is up.
      await journal.execute(this.folded.identity, { ...returning, topic, offsets })();
    }
    // The client may be back already, and wait in another poll, here or elsewhere.
    signals.send(this.folded.identity, undefined);
    return NOTHING;
  }
}

const failure = (error: unknown): Promise<never> =>
  new Promise(() => {
    throw error;
  });

const toId = ({ topic, message }: PolledMessage): MessageId => ({ topic, offset: message.offset });

/** A topic that a poll listens to. */
class Followed implements TopicListener {
  private told: MessageBatch | undefined = undefined;
  private isTold = false;
  readonly membership: Membership;
  /** Where the topic stood when the poll began; undefined where this instance did not know. */
  readonly headAtBegin: Cursor | undefined;

  constructor(
    readonly topic: TopicName,
    private readonly poll: Poll,
    liveTopics: LiveTopics,
  ) {
    this.membership = liveTopics.join(topic, this);
    this.headAtBegin = this.membership.head();
  }

  /** What came since the last look, if that was one batch and nothing else. */
  takeTold(): MessageBatch | undefined {
    const { told } = this;
    this.told = undefined;
    this.isTold = false;
    return told;
  }

  onBatch(batch: MessageBatch): number {
    this.tell(batch);
    return 0;
  }

  onLost(): void {
    this.tell(undefined);
  }

  private tell(batch: MessageBatch | undefined): void {
    this.told = this.isTold ? undefined : batch;
    this.isTold = true;
    this.poll.wake();
  }

  lag(head: Cursor): number {
    const position = this.poll.positionIn(this.topic);
    return position === undefined ? 0 : Math.max(0, head.n - floorOf(position).n);
  }
}

/** Of polls that follow nothing yet. Shared, and never added to: most polls follow one topic. */
const NOBODY: Followed[] = [];

/** What one attempt takes: what it decides, and what to answer with. */
class Taking {
  readonly draft: SubscriptionDraft;
  messages: readonly PolledMessage[] = NONE;
  gaps: readonly Gap[] = NONE;
  /** How many were left out because their time was over. */
  expired = 0;
  redelivered = 0;
  private characters = 0;

  constructor(
    state: Subscription,
    readonly now: Instant,
  ) {
    this.draft = new SubscriptionDraft(state);
  }

  /** Enough for one answer; the rest comes with the next poll. */
  get isLarge(): boolean {
    return this.characters >= ANSWER_CHARACTERS_MAX;
  }

  add(topic: TopicName, reading: Reading): void {
    const { messages, attempt, next, dropped, gap, expired } = reading;
    if (gap !== undefined) this.gaps = this.gaps.concat(gap);
    this.expired += expired;
    if (dropped.length > 0) this.draft.apply({ type: 'Acknowledge', topic, offsets: dropped });
    if (attempt > 1) this.redelivered += messages.length;
    const { cursors = messages.map(toCursor) } = reading;
    this.draft.apply({ type: 'Dispatch', topic, next, cursors, attempt, now: this.now });
    this.messages = this.messages.concat(messages.map((message) => ({ topic, message, attempt })));
    for (const { event } of messages) this.characters += event.payload.length;
  }
}
