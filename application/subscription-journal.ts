/**
 * The journal of one subscription: reads and folds it, and appends what was decided, fenced by the version that the
 * decision was made on. Long histories are replaced by a snapshot, so folding one stays cheap.
 */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import { policyOf } from '../domain/delivery/delivery-policy.js';
import { BEGINNING, type Cursor, type Offset, type Recorded } from '../domain/message/offset.js';
import { keyOf, type Identity } from '../domain/subscription/client-id.js';
import type { SubscriptionEvent } from '../domain/subscription/subscription-events.js';
import {
  subscription,
  toSnapshot,
  type Subscription,
  type SubscriptionCommand,
  type SubscriptionRefusal,
} from '../domain/subscription/subscription.js';
import { replay } from '../domain/decider.js';
import type { Instant, Milliseconds } from '../domain/time.js';
import type { Clock } from './ports/clock.js';
import {
  subscriptionStream,
  type Durability,
  type EventStore,
  type RetentionSettings,
  type StoreUnavailable,
  type VersionConflict,
} from './ports/event-store.js';
import type { JournalSignals } from './ports/journal-signals.js';

/** A subscription as of a place in its journal. */
export interface Folded {
  readonly identity: Identity;
  readonly state: Subscription;
  /** The last event that `state` contains: the place at which the next append expects the journal to end. */
  readonly at: Cursor;
  readonly eventsSinceSnapshot: number;
}

export interface JournalSettings {
  /** Is the record of an at-most-once delivery to be on the disk before the message is sent? */
  readonly isAtMostOnceSynced: boolean;
}

export interface JournalAppendOptions {
  /**
   * Somebody else holds the subscription and is to learn from the journal what has happened: a snapshot would not tell
   * it. The holder makes one when it is time.
   */
  readonly isHeldElsewhere?: boolean;
}

export interface SubscriptionJournal {
  /** The subscription as it is now; one that nobody has opened is `isOpen: false` at version 0. */
  load(identity: Identity): TE.TaskEither<StoreUnavailable, Folded>;
  /**
   * The subscription as it was a moment ago, at once, where this instance has seen it then and has not heard since that
   * it was written to. For whoever would rather lose a race than read the journal each time: the append after it finds
   * out whether it was still true.
   */
  recall(identity: Identity): Folded | undefined;
  /** What was appended since `folded`, in order. */
  since(folded: Folded): TE.TaskEither<StoreUnavailable, readonly Recorded<SubscriptionEvent>[]>;
  /** Appends right behind `folded`, or answers `VersionConflict` where somebody else has appended meanwhile. */
  append(
    folded: Folded,
    events: readonly SubscriptionEvent[],
    options?: JournalAppendOptions,
  ): TE.TaskEither<StoreUnavailable | VersionConflict, Folded>;
  /** Loads, decides and appends; starts over when somebody else was faster. */
  execute(
    identity: Identity,
    command: SubscriptionCommand,
  ): TE.TaskEither<StoreUnavailable | VersionConflict | SubscriptionRefusal, Folded>;
}

/** How long a subscription that is in use may be silent: its journal is then written to, so that it is not forgotten. */
export const silentMsMax = ({ subscriptionMs }: Pick<RetentionSettings, 'subscriptionMs'>): Milliseconds =>
  subscriptionMs / 4;

const PAGE = 500;
/** Most clients that poll come back within seconds; who does not costs a longer read. */
const REMEMBERED_MAX = 10_000;
/** How long a subscription is recalled: a signal that was lost, and nobody noticed, is made up for by then. */
const RECALLED_MS: Milliseconds = 5_000;
/** Below this, folding costs less than the snapshot would. */
const EVENTS_BEFORE_SNAPSHOT = 100;
/** Whoever loses this many races in a row is not racing a client but a fault. */
export const RACES_LOST_MAX = 8;

/** Does it anew for as long as somebody else was faster. */
export const untilRaceIsWon = async <Failure extends { readonly _tag: string }, A>(
  attempt: () => Promise<E.Either<Failure, A>>,
): Promise<E.Either<Failure, A>> => {
  for (let races = 1; ; races++) {
    const outcome = await attempt();
    const isLost = E.isLeft(outcome) && outcome.left._tag === 'VersionConflict';
    if (!isLost || races === RACES_LOST_MAX) return outcome;
  }
};

/** The subscription that nobody has opened yet. */
export const unopened = (identity: Identity): Folded => ({
  identity,
  state: subscription.initialState,
  at: BEGINNING,
  eventsSinceSnapshot: 0,
});

export const fold = (folded: Folded, recorded: readonly Recorded<SubscriptionEvent>[]): Folded => {
  const last = recorded[recorded.length - 1];
  if (last === undefined) return folded;
  const events = recorded.map(({ event }) => event);
  const snapshot = events.findLastIndex(({ type }) => type === 'SubscriptionSnapshotted');
  return {
    identity: folded.identity,
    state: replay(subscription, folded.state, snapshot === -1 ? events : events.slice(snapshot)),
    at: { offset: last.offset, n: last.n },
    eventsSinceSnapshot:
      snapshot === -1 ? folded.eventsSinceSnapshot + events.length : events.length - 1 - snapshot,
  };
};

/** Counted on from a shorter journal: it has lost its end, and with it something that `folded` knows. */
export const hasLostItsEnd = (folded: Folded, since: readonly Recorded<SubscriptionEvent>[]): boolean =>
  since[0] !== undefined && since[0].n <= folded.at.n;

/**
 * At-most-once is a promise about what is *not* forgotten: that a message was given to the client has to survive
 * whatever the message survives.
 */
const durabilityOf = ({ guarantee }: Subscription, { isAtMostOnceSynced }: JournalSettings): Durability =>
  isAtMostOnceSynced && policyOf(guarantee).recordsBeforeSend ? 'fsync_if_logged' : 'stored';

/** The journal ends at `actual`, before what `folded` knows: the next append adds all of that, as a snapshot. */
export const begunAnew = (folded: Folded, actual: Cursor): Folded => ({
  ...folded,
  at: actual,
  eventsSinceSnapshot: EVENTS_BEFORE_SNAPSHOT,
});

interface Remembered {
  readonly folded: Folded;
  /** Until when nobody need be asked whether it is still so. */
  readonly recalledUntil: Instant;
}

/**
 * The subscriptions that were folded last, so that a poll, and the acknowledgement after it, read what is new of a
 * journal instead of all of it, or nothing. Kept in two halves, of which the older one goes as a whole: a map that
 * always gives up its oldest entry is always being built anew.
 */
class RecentlyFolded {
  private recent = new Map<string, Remembered>();
  private earlier = new Map<string, Remembered>();

  get(identity: Identity): Remembered | undefined {
    const key = keyOf(identity);
    return this.recent.get(key) ?? this.earlier.get(key);
  }

  put(folded: Folded, recalledUntil: Instant): void {
    this.recent.set(keyOf(folded.identity), { folded, recalledUntil });
    if (this.recent.size < REMEMBERED_MAX / 2) return;
    this.earlier = this.recent;
    this.recent = new Map();
  }

  /**
   * Somebody else may have written to it. What is read or appended at this moment was asked for before that: it finds
   * another object here than when it began, and is not recalled either.
   */
  distrust(identity: Identity): void {
    const known = this.get(identity);
    if (known !== undefined) this.put(known.folded, 0);
  }

  distrustAll(): void {
    for (const half of [this.recent, this.earlier]) {
      for (const [key, { folded }] of half) half.set(key, { folded, recalledUntil: 0 });
    }
  }
}

export interface JournalDependencies {
  readonly store: EventStore;
  readonly signals: JournalSignals;
  readonly clock: Clock;
}

export const makeSubscriptionJournal = (
  { store, signals, clock }: JournalDependencies,
  settings: JournalSettings = { isAtMostOnceSynced: true },
): SubscriptionJournal => {
  const remembered = new RecentlyFolded();
  signals.onSignal((identity) => remembered.distrust(identity));
  signals.onMissed(() => remembered.distrustAll());

  /** Runs what reads the journal or appends to it, and remembers what it makes of the subscription. */
  const remembering = async <Failure>(
    identity: Identity,
    run: (known: Folded | undefined) => Promise<E.Either<Failure, Folded>>,
  ): Promise<E.Either<Failure, Folded>> => {
    if (remembered.get(identity) === undefined) remembered.put(unopened(identity), 0);
    const before = remembered.get(identity);
    const folded = await run(before?.folded);
    if (E.isLeft(folded)) remembered.distrust(identity);
    else remembered.put(folded.right, remembered.get(identity) === before ? clock.now() + RECALLED_MS : 0);
    return folded;
  };

  const readFrom = async (
    identity: Identity,
    place: Offset,
  ): Promise<E.Either<StoreUnavailable, readonly Recorded<SubscriptionEvent>[]>> => {
    const stream = subscriptionStream(identity);
    const recorded: Recorded<SubscriptionEvent>[] = [];
    for (let after = place; ;) {
      const page = await store.read(stream, after, PAGE)();
      if (E.isLeft(page)) return page;
      recorded.push(...page.right);
      const last = page.right[page.right.length - 1];
      if (last === undefined || page.right.length < PAGE) return E.right(recorded);
      after = last.offset;
    }
  };

  const since: SubscriptionJournal['since'] = (folded) => () => readFrom(folded.identity, folded.at.offset);

  /** Reads on from what was folded before, beginning with its last event: only if that is still there it is the same. */
  const loadOn = async (known: Folded): Promise<E.Either<StoreUnavailable, Folded | undefined>> => {
    const read = await readFrom(known.identity, (known.at.offset - 1) as Offset);
    if (E.isLeft(read)) return read;
    const [last, ...later] = read.right;
    const isSame = last?.offset === known.at.offset && last.n === known.at.n;
    return E.right(isSame ? fold(known, later) : undefined);
  };

  const loadAll = (identity: Identity): TE.TaskEither<StoreUnavailable, Folded> =>
    F.pipe(
      since(unopened(identity)),
      TE.map((recorded) => fold(unopened(identity), recorded)),
    );

  const load: SubscriptionJournal['load'] = (identity) => () =>
    remembering<StoreUnavailable>(identity, async (known) => {
      const loaded = known === undefined || known.at.n === 0 ? E.right(undefined) : await loadOn(known);
      if (E.isLeft(loaded)) return loaded;
      return loaded.right === undefined ? loadAll(identity)() : E.right(loaded.right);
    });

  const recall: SubscriptionJournal['recall'] = (identity) => {
    const known = remembered.get(identity);
    return known !== undefined && known.recalledUntil > clock.now() ? known.folded : undefined;
  };

  const append: SubscriptionJournal['append'] =
    (folded, events, { isHeldElsewhere = false } = {}) =>
    async () => {
      if (events.length === 0) return E.right(folded);
      const { identity } = folded;
      const stream = subscriptionStream(identity);
      const state = replay(subscription, folded.state, events);
      const isLong = !isHeldElsewhere && folded.eventsSinceSnapshot + events.length > EVENTS_BEFORE_SNAPSHOT;
      const all = isLong ? [...events, toSnapshot(state)] : events;
      const durability = durabilityOf(folded.state, settings);
      const appended = await remembering<StoreUnavailable | VersionConflict>(identity, async () => {
        const cursors = await store.append(stream, all, { expected: folded.at, durability })();
        if (E.isLeft(cursors)) return cursors;
        return E.right({
          identity,
          state,
          at: cursors.right[cursors.right.length - 1] ?? folded.at,
          eventsSinceSnapshot: isLong ? 0 : folded.eventsSinceSnapshot + events.length,
        });
      });
      // The snapshot stands; what lies in front of it may stay a while where trimming fails.
      if (isLong && E.isRight(appended)) await store.trim(stream, appended.right.at.offset)();
      return appended;
    };

  const execute: SubscriptionJournal['execute'] = (identity, command) => () =>
    untilRaceIsWon(
      F.pipe(
        load(identity),
        TE.flatMap((folded) =>
          F.pipe(
            TE.fromEither(subscription.decide(folded.state, command)),
            TE.flatMap(
              (events): TE.TaskEither<StoreUnavailable | VersionConflict | SubscriptionRefusal, Folded> =>
                append(folded, events),
            ),
          ),
        ),
      ),
    );

  return { load, recall, since, append, execute };
};
