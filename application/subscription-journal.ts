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
import { RecentMap } from './recent-map.js';
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
  /** What the events lead to, from whoever has worked it out already. */
  readonly state?: Subscription;
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

/** What is known of a subscription that was folded lately. `folded` is undefined before it was read. */
interface Remembered {
  folded: Folded | undefined;
  /** Until when nobody need be asked whether it is still so. */
  recalledUntil: Instant;
  /** How often somebody else may have written to it. */
  doubts: number;
}

const doubt = (known: Remembered | undefined): void => {
  if (known === undefined) return;
  known.doubts += 1;
  known.recalledUntil = 0;
};

export interface JournalDependencies {
  readonly store: EventStore;
  readonly signals: JournalSignals;
  readonly clock: Clock;
}

export const makeSubscriptionJournal = (
  { store, signals, clock }: JournalDependencies,
  settings: JournalSettings = { isAtMostOnceSynced: true },
): SubscriptionJournal => {
  // So that a poll, and the acknowledgement after it, read what is new of a journal instead of all of it, or nothing.
  const remembered = new RecentMap<string, Remembered>(REMEMBERED_MAX);
  signals.onSignal((identity) => doubt(remembered.peek(keyOf(identity))));
  signals.onMissed(() => remembered.forEach(doubt));

  const rememberedOf = (identity: Identity): Remembered => {
    const key = keyOf(identity);
    const known = remembered.use(key);
    if (known !== undefined) return known;
    const unknown: Remembered = { folded: undefined, recalledUntil: 0, doubts: 0 };
    remembered.set(key, unknown);
    return unknown;
  };

  /** `doubtsBefore`: when it began to be read or appended to. What somebody has written since may be missing in it. */
  const remember = (known: Remembered, folded: Folded, doubtsBefore: number): void => {
    known.folded = folded;
    known.recalledUntil = known.doubts === doubtsBefore ? clock.now() + RECALLED_MS : 0;
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
    if (known.at.n === 0) return E.right(undefined);
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

  const load: SubscriptionJournal['load'] = (identity) => async () => {
    const known = rememberedOf(identity);
    const { folded, doubts } = known;
    const read = folded === undefined ? E.right(undefined) : await loadOn(folded);
    if (E.isLeft(read)) return read;
    const loaded = read.right === undefined ? await loadAll(identity)() : E.right(read.right);
    if (E.isRight(loaded)) remember(known, loaded.right, doubts);
    return loaded;
  };

  const recall: SubscriptionJournal['recall'] = (identity) => {
    const known = rememberedOf(identity);
    const leftMs = known.recalledUntil - clock.now();
    // The clock may have been set back.
    return leftMs > 0 && leftMs <= RECALLED_MS ? known.folded : undefined;
  };

  const append: SubscriptionJournal['append'] =
    (folded, events, { isHeldElsewhere = false, state = replay(subscription, folded.state, events) } = {}) =>
    async () => {
      if (events.length === 0) return E.right(folded);
      const { identity } = folded;
      const stream = subscriptionStream(identity);
      const isLong = !isHeldElsewhere && folded.eventsSinceSnapshot + events.length > EVENTS_BEFORE_SNAPSHOT;
      const all = isLong ? [...events, toSnapshot(state)] : events;
      const known = rememberedOf(identity);
      const { doubts } = known;
      const durability = durabilityOf(folded.state, settings);
      const cursors = await store.append(stream, all, { expected: folded.at, durability })();
      if (E.isLeft(cursors)) {
        doubt(known);
        return cursors;
      }
      const appended: Folded = {
        identity,
        state,
        at: cursors.right[cursors.right.length - 1] ?? folded.at,
        eventsSinceSnapshot: isLong ? 0 : folded.eventsSinceSnapshot + events.length,
      };
      remember(known, appended, doubts);
      // The snapshot stands; what lies in front of it may stay a while where trimming fails.
      if (isLong) await store.trim(stream, appended.at.offset)();
      return E.right(appended);
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
