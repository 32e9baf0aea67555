/**
 * The sessions of this instance: opens them, ends them, and keeps the two clocks that all of them share: a commit of
 * what was acknowledged, and a tick in which deadlines and deliveries are looked at.
 */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import { keyOf, type ClientId, type Identity } from '../domain/subscription/client-id.js';
import { subscription } from '../domain/subscription/subscription.js';
import { instantOf, type Offset } from '../domain/message/offset.js';
import type { Milliseconds } from '../domain/time.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { TopicPattern } from '../domain/topic/topic-pattern.js';
import type { PrepareOpening, SubscriptionRequest } from './open-subscription.js';
import type { Principal } from './ports/authenticator.js';
import type { ClientConnection, CloseReason } from './ports/client-connection.js';
import type { Cancel } from './ports/clock.js';
import type { IdSource } from './ports/id-source.js';
import type { JournalSignals } from './ports/journal-signals.js';
import type { InFlight } from './ports/metrics.js';
import type { SubscribeRefusal } from './refusals.js';
import { Session, type SessionDependencies } from './session.js';
import { silentMsMax, unopened, untilRaceIsWon, type Folded } from './subscription-journal.js';
import { goneBefore, type TopicCatalogue } from './topic-catalogue.js';

/** Acknowledgements wait this long for others to be recorded with. Longer: fewer writes, more repeats after a crash. */
const COMMIT_INTERVAL_MS: Milliseconds = 100;
/** How late a redelivery may be, and how long a delivery may be known to its session only. */
const TICK_MS: Milliseconds = 250;
/** Journals read at the same time where any of them may have been written to; more would delay other reads. */
const REFRESHED_AT_ONCE = 50;

export interface SessionsDependencies extends SessionDependencies {
  readonly prepareOpening: PrepareOpening;
  readonly ids: IdSource;
  readonly catalogue: TopicCatalogue;
  readonly signals: JournalSignals;
}

export interface Opened {
  readonly session: Session;
  /** Topics with a position from before, on which the client goes on where it was. */
  readonly recovered: readonly TopicPattern[];
}

/** A subscription that is being opened and that nobody holds here yet. */
interface Opening {
  readonly key: string;
  readonly by: string;
  /** A signal has come for it: somebody has written to the journal that was read. */
  isMissed: boolean;
}

export class Sessions {
  private readonly all = new Set<Session>();
  private readonly durable = new Map<string, Session>();
  /** For each subscription that is being opened, the topics that came into being meanwhile. */
  private readonly openings = new Set<TopicName[]>();
  private readonly unheld = new Set<Opening>();
  private cancels: readonly Cancel[] = [];

  constructor(private readonly dependencies: SessionsDependencies) {
    const { catalogue, signals, metrics } = dependencies;
    catalogue.onCreated((topic) => this.onTopicCreated(topic));
    catalogue.onForgotten((topics) => this.onTopicsForgotten(topics));
    signals.onSignal((identity, by) => this.onSignal(identity, by));
    signals.onMissed(() => void this.refreshAll());
    metrics.observeInFlight(() => this.inFlight());
  }

  start(): void {
    this.cancels = [
      this.every(COMMIT_INTERVAL_MS, () => {
        for (const session of this.durable.values()) if (session.needsCommit) void session.commit();
      }),
      this.every(TICK_MS, () => this.onTick()),
    ];
  }

  /** Ends every session for `reason`; resolves when what they acknowledged is recorded. */
  async stop(reason: CloseReason): Promise<void> {
    for (const cancel of this.cancels) cancel();
    await Promise.all([...this.all].map((session) => this.end(session, reason)));
  }

  /** The session that holds this subscription on this instance. */
  find(identity: Identity): Session | undefined {
    return this.durable.get(keyOf(identity));
  }

  /**
   * Opens a subscription for a connection. With a client_id it is durable: the position outlives the connection, and
   * whoever held it before is closed as superseded. Without one, it is gone with the connection.
   * Nothing is delivered before the caller says `session.deliver()`: the client hears first that it is subscribed.
   */
  open(
    principal: Principal,
    clientId: ClientId | undefined,
    request: SubscriptionRequest,
    connection: ClientConnection,
  ): TE.TaskEither<SubscribeRefusal, Opened> {
    const name = this.dependencies.ids.next();
    const identity: Identity = { principal: principal.id, clientId: clientId ?? (name as ClientId) };
    const isDurable = clientId !== undefined;
    const opening: Opening = { key: keyOf(identity), by: name, isMissed: false };
    return this.missingNoTopic(async () => {
      this.unheld.add(opening);
      try {
        const superseded = await this.supersede(principal, identity, request, name)();
        if (E.isLeft(superseded)) return superseded;
        const opened = await this.take(principal, identity, request, name, isDurable);
        if (E.isLeft(opened)) return opened;
        const { before, after } = opened.right;
        const session = new Session(this.dependencies, principal, connection, after, isDurable);
        this.all.add(session);
        if (isDurable) await this.hold(identity, session, opening);
        return E.right({
          session,
          recovered: request.topics.filter((topic) => before.state.topics.includes(topic)),
        });
      } finally {
        this.unheld.delete(opening);
      }
    });
  }

  /** Adds topics to a session. */
  extend(session: Session, request: SubscriptionRequest): TE.TaskEither<SubscribeRefusal, Opened> {
    const before = session.state.state;
    return this.missingNoTopic(
      F.pipe(
        this.dependencies.prepareOpening(session.principal, before, request, before.session ?? ''),
        TE.flatMap((command) => session.change((state) => subscription.decide(state, command))),
        TE.map(() => ({
          session,
          recovered: request.topics.filter((topic) => before.topics.includes(topic)),
        })),
      ),
    );
  }

  /** Takes topics off a session; their positions are forgotten. */
  remove(session: Session, topics: readonly TopicPattern[]): TE.TaskEither<SubscribeRefusal, Folded> {
    return session.change((state) => subscription.decide(state, { type: 'Remove', topics }));
  }

  /** Ends one session; without a reason where its connection is gone already. */
  async end(session: Session, reason?: CloseReason): Promise<void> {
    const key = keyOf(session.state.identity);
    await session.end(reason);
    this.all.delete(session);
    if (this.durable.get(key) === session) this.durable.delete(key);
  }

  /**
   * Closes the session of this instance that holds the subscription, if there is one, so that `session` can have it. A
   * request that would be refused anyway, or for which the storage is not there, is refused before that: it must not
   * cost the holder its connection.
   */
  supersede(
    principal: Principal,
    identity: Identity,
    request: SubscriptionRequest,
    session: string,
  ): TE.TaskEither<SubscribeRefusal, void> {
    const held = this.find(identity);
    if (held === undefined) return TE.right(undefined);
    const { state } = held.state;
    return F.pipe(
      this.dependencies.prepareOpening(principal, state, request, session),
      TE.tap(() => this.dependencies.journal.load(identity)),
      TE.flatMapEither((command): E.Either<SubscribeRefusal, unknown> => subscription.decide(state, command)),
      TE.tapIO(() => () => this.dependencies.metrics.sessionSuperseded()),
      TE.flatMap(() => TE.fromTask(() => this.end(held, 'superseded'))),
    );
  }

  /** Reads the journal, decides, and appends that the session has begun; starts over when somebody was faster. */
  private async take(
    principal: Principal,
    identity: Identity,
    request: SubscriptionRequest,
    name: string,
    isDurable: boolean,
  ): Promise<E.Either<SubscribeRefusal, { readonly before: Folded; readonly after: Folded }>> {
    const { journal } = this.dependencies;
    return untilRaceIsWon(
      F.pipe(
        TE.Do,
        TE.bindW('before', () => (isDurable ? journal.load(identity) : TE.right(unopened(identity)))),
        TE.bindW('command', ({ before }) =>
          this.dependencies.prepareOpening(principal, before.state, request, name),
        ),
        TE.bindW('events', ({ before, command }) =>
          TE.fromEither(subscription.decide(before.state, command)),
        ),
        TE.bindW('after', ({ before, events }) =>
          isDurable
            ? journal.append(before, events)
            : TE.right({ ...before, state: events.reduce(subscription.evolve, before.state) }),
        ),
      ),
    );
  }

  /** Two may have opened the same subscription at once; the one whose journal entry came later has it. */
  private async hold(identity: Identity, session: Session, opening: Opening): Promise<void> {
    this.dependencies.signals.send(identity, opening.by);
    const other = this.find(identity);
    const isNewer = other === undefined || other.state.at.n <= session.state.at.n;
    if (isNewer) this.durable.set(opening.key, session);
    const loser = isNewer ? other : session;
    if (loser !== undefined) {
      this.dependencies.metrics.sessionSuperseded();
      await this.end(loser, 'superseded');
    }
    if (opening.isMissed) await this.refresh(session);
  }

  /** Another instance, or a request to this one, has written to the journal of a subscription that is held here. */
  private onSignal(identity: Identity, by: string | undefined): void {
    const key = keyOf(identity);
    for (const opening of this.unheld) if (opening.key === key && opening.by !== by) opening.isMissed = true;
    const session = this.durable.get(key);
    if (session === undefined || session.state.state.session === by) return;
    void this.refresh(session);
  }

  private async refresh(session: Session): Promise<void> {
    await session.refresh();
    if (session.hasEnded) await this.end(session);
  }

  /** Signals were missed: whoever is silent would not find out that it was taken over. */
  private async refreshAll(): Promise<void> {
    const held = [...this.durable.values()];
    for (let i = 0; i < held.length; i += REFRESHED_AT_ONCE) {
      await Promise.all(held.slice(i, i + REFRESHED_AT_ONCE).map((session) => this.refresh(session)));
    }
  }

  private onTick(): void {
    const { clock, retention } = this.dependencies;
    const now = clock.now();
    for (const session of this.all) {
      session.onTick(now);
      session.renew(now, silentMsMax(retention));
    }
  }

  private onTopicsForgotten(topics: readonly TopicName[]): void {
    const { clock, retention } = this.dependencies;
    const before = goneBefore(clock.now(), retention);
    for (const session of this.all) session.forget(topics, before);
  }

  private inFlight(): InFlight {
    let messages = 0;
    let oldest: Offset | undefined;
    for (const { inFlight } of this.all) {
      messages += inFlight.messages;
      if (inFlight.oldest !== undefined && (oldest === undefined || inFlight.oldest < oldest))
        oldest = inFlight.oldest;
    }
    const oldestAgeMs =
      oldest === undefined ? 0 : Math.max(0, this.dependencies.clock.now() - instantOf(oldest));
    return { messages, oldestAgeMs };
  }

  /** A topic that comes into being while `open` looks for those that match may be in no list that it read. */
  private missingNoTopic(
    open: TE.TaskEither<SubscribeRefusal, Opened>,
  ): TE.TaskEither<SubscribeRefusal, Opened> {
    return async () => {
      const created: TopicName[] = [];
      this.openings.add(created);
      try {
        const opened = await open();
        if (E.isRight(opened)) for (const topic of created) opened.right.session.onTopicCreated(topic);
        return opened;
      } finally {
        this.openings.delete(created);
      }
    };
  }

  private onTopicCreated(topic: TopicName): void {
    for (const created of this.openings) created.push(topic);
    for (const session of this.all) session.onTopicCreated(topic);
  }

  private every(intervalMs: Milliseconds, task: () => void): Cancel {
    const { clock } = this.dependencies;
    let cancel = clock.after(intervalMs, function again() {
      cancel = clock.after(intervalMs, again);
      task();
    });
    return () => cancel();
  }
}
