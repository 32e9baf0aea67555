/**
 * SessionRecord: the journal as the session that holds the subscription sees it. Appends one after the other, each
 * right behind the one before it, and tells what others have written in between. A subscription without a client_id
 * has no journal: its record is this object.
 */
import { either as E } from 'fp-ts';
import { replay } from '../domain/decider.js';
import { instantOf, type Cursor } from '../domain/message/offset.js';
import type { SubscriptionEvent } from '../domain/subscription/subscription-events.js';
import { subscription, type Subscription } from '../domain/subscription/subscription.js';
import type { Instant } from '../domain/time.js';
import type { StoreUnavailable, VersionConflict } from './ports/event-store.js';
import {
  begunAnew,
  fold,
  hasLostItsEnd,
  type Folded,
  type SubscriptionJournal,
} from './subscription-journal.js';

/** What others have done to the journal. */
export type CaughtUp =
  /** Another connection, or a poll, has the subscription now. */
  | { readonly _tag: 'Superseded' }
  /** Requests have settled messages. `isRestated`: the journal has lost something that only the session knows. */
  | {
      readonly _tag: 'Owned';
      readonly events: readonly SubscriptionEvent[];
      readonly isRestated: boolean;
    };

/** One for all: most records wait for nothing. */
const NO_APPENDS: Promise<unknown> = Promise.resolve();

export class SessionRecord {
  private appends = NO_APPENDS;

  constructor(
    private readonly journal: SubscriptionJournal,
    private current: Folded,
    readonly isDurable: boolean,
  ) {}

  get folded(): Folded {
    return this.current;
  }

  get state(): Subscription {
    return this.current.state;
  }

  /** When the journal was last written to; a subscription that stays silent for long enough is forgotten. */
  get writtenAt(): Instant {
    return instantOf(this.current.at.offset);
  }

  /** Runs what appends alone: each append expects the place that the one before it has left. */
  exclusively<A>(run: () => Promise<A>): Promise<A> {
    const result = this.appends.then(run);
    this.appends = result.catch(() => undefined);
    return result;
  }

  /** To be called from `exclusively`. */
  async append(
    events: readonly SubscriptionEvent[],
  ): Promise<E.Either<StoreUnavailable | VersionConflict, Folded>> {
    const appended: E.Either<StoreUnavailable | VersionConflict, Folded> = this.isDurable
      ? await this.journal.append(this.current, events)()
      : E.right({ ...this.current, state: replay(subscription, this.state, events) });
    if (E.isRight(appended)) this.current = appended.right;
    return appended;
  }

  /**
   * Reads and takes over what others have appended. `actual` is where the journal ends, if a conflict has told. To be
   * called from `exclusively`.
   */
  async catchUp(actual?: Cursor): Promise<E.Either<StoreUnavailable, CaughtUp>> {
    const { at } = this.current;
    if (actual !== undefined && actual.offset < at.offset) return this.beginAnew(actual);
    const since = await this.journal.since(this.current)();
    if (E.isLeft(since)) return since;
    const [first] = since.right;
    if (first === undefined) {
      return actual === undefined ? owned([], false) : this.beginAnew(actual);
    }
    const events = since.right.map(({ event }) => event);
    if (events.some((event) => this.isTakeover(event))) return E.right({ _tag: 'Superseded' });
    // Counted on from a shorter journal: it has lost its end, and with it what was recorded last.
    const isRestated = hasLostItsEnd(this.current, since.right);
    this.current = fold(this.current, since.right);
    if (isRestated) this.current = begunAnew(this.current, this.current.at);
    return owned(events, isRestated);
  }

  /** The end of the journal, or all of it, is lost: the next append restates everything, and whose it is. */
  private beginAnew(actual: Cursor): E.Either<never, CaughtUp> {
    this.current = begunAnew(this.current, actual);
    return owned([], true);
  }

  private isTakeover(event: SubscriptionEvent): boolean {
    const isOfSession = event.type === 'SessionStarted' || event.type === 'SubscriptionSnapshotted';
    return isOfSession && event.session !== this.state.session;
  }
}

const owned = (events: readonly SubscriptionEvent[], isRestated: boolean): E.Either<never, CaughtUp> =>
  E.right({ _tag: 'Owned', events, isRestated });
