/**
 * Poll: one answer of a long-poll. Reads what there is, or waits for it until the timeout. Nothing is held between two
 * polls, so the next one may reach any instance: what an answer contains is in the journal before the answer leaves.
 */
import type { taskEither as TE } from 'fp-ts';
import { either as E } from 'fp-ts';
import { replay } from '../domain/decider.js';
import { BEGINNING, instantOf, type Cursor, type Recorded } from '../domain/message/offset.js';
import type { ClientId, Identity } from '../domain/subscription/client-id.js';
import type { SubscriptionEvent } from '../domain/subscription/subscription-events.js';
import {
  credit,
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
import type { LiveTopics, Membership } from './live-topics.js';
import type { PrepareOpening, SubscriptionRequest } from './open-subscription.js';
import type { Principal } from './ports/authenticator.js';
import type { Gap } from './ports/client-connection.js';
import type { Clock } from './ports/clock.js';
import type { EventStore, StoreUnavailable, VersionConflict } from './ports/event-store.js';
import type { Metrics } from './ports/metrics.js';
import type { SubscribeRefusal } from './refusals.js';
import type { Sessions } from './sessions.js';
import type { Folded, SubscriptionJournal } from './subscription-journal.js';
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
  readonly clock: Clock;
  readonly metrics: Metrics;
}

const ATTEMPTS_MAX = 8;

export const makePollMessages = (dependencies: PollDependencies): PollMessages => {
  const { clock, journal, sessions, prepareOpening, catalogue, metrics } = dependencies;
  const waiting = new Set<Poll>();
  let isDraining = false;

  catalogue.onCreated((topic) => {
    for (const poll of waiting) poll.onTopicCreated(topic);
  });

  const open = async (
    principal: Principal,
    request: PollRequest,
  ): Promise<E.Either<SubscribeRefusal, Folded>> => {
    const identity: Identity = { principal: principal.id, clientId: request.clientId };
    const held = sessions.find(identity);
    if (held !== undefined) await sessions.end(held, 'superseded');
    const folded = await journal.load(identity)();
    if (E.isLeft(folded)) return folded;
    const command = await prepareOpening(principal, folded.right.state, request, POLLS)();
    if (E.isLeft(command)) return command;
    const events = subscription.decide(folded.right.state, command.right);
    return E.isLeft(events) ? events : journal.append(folded.right, events.right)();
  };

  /** One attempt: opens, waits and dispatches. A conflict means that somebody else was faster: start over. */
  const attempt = async (
    principal: Principal,
    request: PollRequest,
    until: Instant,
    gone: AbortSignal,
  ): Promise<E.Either<SubscribeRefusal, PollAnswer>> => {
    const opened = await open(principal, request);
    if (E.isLeft(opened)) return opened;
    const poll = new Poll(dependencies, principal, request, opened.right, gone);
    waiting.add(poll);
    try {
      return await poll.run(isDraining ? clock.now() : until);
    } finally {
      waiting.delete(poll);
      poll.leave();
    }
  };

  return {
    poll: (principal, request, gone) => async () => {
      const until = clock.now() + request.timeoutMs;
      metrics.connectionOpened('long_poll');
      try {
        for (let i = 1; ; i++) {
          const answer = await attempt(principal, request, until, gone);
          if (E.isRight(answer) || answer.left._tag !== 'VersionConflict' || i === ATTEMPTS_MAX)
            return answer;
        }
      } finally {
        metrics.connectionClosed('long_poll');
      }
    },
    drain: () => {
      isDraining = true;
      for (const poll of waiting) poll.finish();
    },
  };
};

/** A poll under way: a listener of its topics that wakes up when there may be something to answer with. */
class Poll {
  private readonly memberships = new Map<TopicName, Membership>();
  private created: TopicName[] = [];
  private isWoken = false;
  private isFinishing = false;
  private onWake: (() => void) | undefined;

  constructor(
    private readonly dependencies: PollDependencies,
    private readonly principal: Principal,
    private readonly request: PollRequest,
    private folded: Folded,
    private readonly gone: AbortSignal,
  ) {
    gone.addEventListener('abort', () => this.finish(), { once: true });
  }

  /** Joins first and looks second: what is published meanwhile wakes the poll up. */
  async run(until: Instant): Promise<E.Either<SubscribeRefusal, PollAnswer>> {
    for (;;) {
      this.isWoken = false;
      const joined = await this.join();
      if (E.isLeft(joined)) return joined;
      const answer = await this.take();
      if (E.isLeft(answer)) return answer;
      const { messages, gaps } = answer.right;
      const isOver = this.isFinishing || this.gone.aborted || this.dependencies.clock.now() >= until;
      if (messages.length > 0 || gaps.length > 0 || isOver) return answer;
      await this.sleep(until);
    }
  }

  finish(): void {
    this.isFinishing = true;
    this.wake();
  }

  onTopicCreated(topic: TopicName): void {
    if (!this.isAskedFor(topic) || !mayReceive(this.principal, topic)) return;
    this.created.push(topic);
    this.wake();
  }

  leave(): void {
    for (const membership of this.memberships.values()) membership.leave();
  }

  private wake(): void {
    this.isWoken = true;
    this.onWake?.();
  }

  /** Until something happens, an acknowledgement is overdue, or the time is up. */
  private sleep(until: Instant): Promise<void> {
    const { clock } = this.dependencies;
    if (this.isWoken) return Promise.resolve();
    let wakeAt = until;
    for (const topic of this.memberships.keys()) {
      const position = this.folded.state.positions.get(topic);
      const wake = position === undefined ? undefined : nextWake(position);
      if (wake !== undefined && wake < wakeAt) wakeAt = wake;
    }
    return new Promise((resolve) => {
      const cancel = clock.after(Math.max(0, wakeAt - clock.now()), resolve);
      this.onWake = () => {
        cancel();
        resolve();
      };
    });
  }

  private isAskedFor(topic: TopicName): boolean {
    return selects(this.request.topics, topic);
  }

  private async join(): Promise<E.Either<StoreUnavailable, void>> {
    for (const topic of [...this.folded.state.positions.keys(), ...this.created]) {
      if (this.memberships.has(topic) || !this.isAskedFor(topic)) continue;
      const membership = this.dependencies.liveTopics.join(topic, {
        onBatch: () => {
          this.wake();
          return 0;
        },
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
  private async take(): Promise<E.Either<StoreUnavailable | VersionConflict, PollAnswer>> {
    const { clock, journal, metrics } = this.dependencies;
    const taking = new Taking(this.folded.state, clock.now());
    const starts = this.created.map((topic) => ({ topic, at: BEGINNING }));
    this.created = [];
    taking.apply({ type: 'Follow', starts });
    taking.apply({ type: 'Expire', now: taking.now });
    for (const topic of this.inTurn()) {
      const failure = await this.takeFrom(topic, taking);
      if (failure !== undefined) return E.left(failure);
    }
    const appended = await journal.append(this.folded, taking.events)();
    if (E.isLeft(appended)) return appended;
    this.folded = appended.right;
    if (this.gone.aborted) return this.giveBack(taking);
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

  /** Another topic first each time, so that a busy one does not starve the others. */
  private inTurn(): readonly TopicName[] {
    const topics = [...this.memberships.keys()];
    const first = topics.length === 0 ? 0 : this.folded.at.n % topics.length;
    return [...topics.slice(first), ...topics.slice(0, first)];
  }

  private async takeFrom(topic: TopicName, taking: Taking): Promise<StoreUnavailable | undefined> {
    const { store } = this.dependencies;
    for (;;) {
      const position = taking.state.positions.get(topic);
      const most = this.request.messagesMax - taking.messages.length;
      if (position === undefined || most <= 0) return undefined;
      const head = this.memberships.get(topic)?.head();
      const room = { most, fresh: credit(taking.state) };
      const reading = await readNext(store, topic, position, head, room, taking.now)();
      if (E.isLeft(reading)) return reading.left;
      if (reading.right === undefined) return undefined;
      taking.add(topic, reading.right);
    }
  }

  /** Nobody is there to receive what was taken: due again at once. At-most-once has lost it, as it says. */
  private async giveBack(taking: Taking): Promise<E.Either<StoreUnavailable | VersionConflict, PollAnswer>> {
    const back = new Taking(this.folded.state, taking.now);
    for (const { topic, message } of taking.messages) {
      back.apply({ type: 'Reject', topic, offsets: [message.offset], notBefore: taking.now });
    }
    const appended = await this.dependencies.journal.append(this.folded, back.events)();
    return E.isLeft(appended) ? appended : E.right({ messages: [], gaps: [] });
  }
}

/** What one attempt takes: the events so far, the state after them, and the messages to answer with. */
class Taking {
  readonly events: SubscriptionEvent[] = [];
  readonly messages: PolledMessage[] = [];
  readonly gaps: Gap[] = [];

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

  add(topic: TopicName, { messages, attempt, next, dropped, gap }: Reading): void {
    if (gap !== undefined) this.gaps.push(gap);
    if (dropped.length > 0) this.apply({ type: 'Acknowledge', topic, offsets: dropped });
    const cursors = messages.map(({ offset, n }) => ({ offset, n }));
    this.apply({ type: 'Dispatch', topic, next, cursors, attempt, now: this.now });
    for (const message of messages) this.messages.push({ topic, message, attempt });
  }
}
