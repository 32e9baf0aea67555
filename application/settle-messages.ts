/**
 * Settling over HTTP: what a poll was given, or what a connection was, on this instance or another. Idempotent, and
 * answered once it is recorded.
 */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import { assertNever } from '../domain/assert-never.js';
import type { MessageId } from '../domain/message/message-id.js';
import type { Offset } from '../domain/message/offset.js';
import { keyOf, type ClientId, type Identity } from '../domain/subscription/client-id.js';
import { POLLS, type Subscription } from '../domain/subscription/subscription.js';
import {
  deliveredOf,
  settlementOf,
  unacknowledgedUpTo,
  type Delivered,
  type TopicPosition,
} from '../domain/subscription/topic-position.js';
import type { Milliseconds } from '../domain/time.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { DeadLetters } from './dead-letters.js';
import { byTopic, eachKnown, NOTHING_TAKEN, type Taken } from './ids-of-topic.js';
import type { Principal } from './ports/authenticator.js';
import type { Clock } from './ports/clock.js';
import type { EventStore, StoreUnavailable, VersionConflict } from './ports/event-store.js';
import type { JournalSignals } from './ports/journal-signals.js';
import type { Metrics } from './ports/metrics.js';
import type { Sessions } from './sessions.js';
import type { Settled, Settling } from './settling.js';
import { SubscriptionDraft } from './subscription-draft.js';
import { untilRaceIsWon, type Folded, type SubscriptionJournal } from './subscription-journal.js';
import { readMessages, whatBecameOf } from './unsettled-ids.js';

export type SettleMessages = (
  principal: Principal,
  clientId: ClientId,
  settling: Settling,
) => TE.TaskEither<StoreUnavailable | VersionConflict, Settled>;

export interface SettleDependencies {
  readonly store: EventStore;
  readonly journal: SubscriptionJournal;
  readonly sessions: Sessions;
  readonly deadLetters: DeadLetters;
  readonly signals: JournalSignals;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** From 0 up to 1. */
  readonly random: () => number;
}

/**
 * A connection records what it was given within half a second. A request that comes sooner, and to another instance, waits
 * for that instead of calling the messages unknown.
 */
const LOOK_AGAIN_MS: Milliseconds = 250;
const LOOKS_MAX = 4;

type Outcome = E.Either<StoreUnavailable | VersionConflict, Settled>;

export const makeSettleMessages = (dependencies: SettleDependencies): SettleMessages => {
  const { sessions, clock } = dependencies;
  const turns = new Turns();

  return (principal, clientId, settling) => {
    const identity: Identity = { principal: principal.id, clientId };
    const settle = async (): Promise<Outcome> => {
      for (let looks = 1; ; looks++) {
        const session = sessions.find(identity);
        if (session !== undefined) {
          const settled = await session.settle(settling)();
          // One that has ended meanwhile may have recorded it or not: the journal knows, and takes it once more.
          if (!session.hasEnded) return settled;
        }
        // Not while it waits: the client's other requests are not to wait for that.
        const outcome = await turns.take(keyOf(identity), () =>
          settleInJournal(dependencies, identity, settling, looks === LOOKS_MAX),
        );
        if (outcome !== 'look_again') return outcome;
        await new Promise<void>((resolve) => clock.after(LOOK_AGAIN_MS, resolve));
      }
    };
    return () => untilRaceIsWon(settle);
  };
};

/** `look_again`: ids are unknown, and a connection on another instance may be about to record that it was given them. */
const settleInJournal = async (
  dependencies: SettleDependencies,
  identity: Identity,
  settling: Settling,
  isLastLook: boolean,
): Promise<Outcome | 'look_again'> => {
  const { store, journal, signals, metrics } = dependencies;
  const loaded = await loadFor(dependencies, identity, settling);
  if (E.isLeft(loaded)) return loaded;
  const draft = new SubscriptionDraft(loaded.right.state);
  const taken = await new Taking(dependencies, identity, draft).take(settling);
  if (E.isLeft(taken)) return taken;
  const { count, settledBefore, unknown } = taken.right;
  const { session } = loaded.right.state;
  const isHeld = session !== undefined && session !== POLLS;
  if (isHeld && unknown.length > 0 && !isLastLook) return 'look_again';
  const { events, state } = draft;
  const appended = await journal.append(loaded.right, events, { state, isHeldElsewhere: isHeld })();
  if (E.isLeft(appended)) return appended;
  if (settling.type === 'Acknowledge' || settling.type === 'AcknowledgeUpTo')
    metrics.messagesAcknowledged(count);
  // A poll that waits finds out about acknowledgements by itself; what is given back it should have now.
  if (events.length > 0 && (isHeld || settling.type === 'Reject')) signals.send(identity, undefined);
  const became = await whatBecameOf(store, settledBefore)();
  return E.right({ ...became, count, unknown: [...unknown, ...became.unknown] });
};

/**
 * A moment old will do where every message waits for an answer there: the append finds out whether it still does.
 * Anything else is only said of the journal as it is.
 */
const loadFor = async (
  { journal }: SettleDependencies,
  identity: Identity,
  settling: Settling,
): Promise<E.Either<StoreUnavailable, Folded>> => {
  const recalled = journal.recall(identity);
  return settling.type === 'Acknowledge' &&
    recalled !== undefined &&
    areWaitedFor(recalled.state, settling.ids)
    ? E.right(recalled)
    : journal.load(identity)();
};

const areWaitedFor = ({ positions }: Subscription, ids: readonly MessageId[]): boolean =>
  byTopic(ids).every(({ topic, offsets }) => {
    const position = positions.get(topic);
    return position !== undefined && settlementOf(position, offsets).known.length === offsets.length;
  });

/** A topic of the subscription, and where it stands in it. */
interface Place {
  readonly topic: TopicName;
  readonly position: TopicPosition;
}

/** Drafts what one request does. */
class Taking {
  constructor(
    private readonly dependencies: SettleDependencies,
    private readonly identity: Identity,
    private readonly draft: SubscriptionDraft,
  ) {}

  async take(settling: Settling): Promise<E.Either<StoreUnavailable, Taken>> {
    const { clock, random } = this.dependencies;
    const { draft } = this;
    const now = clock.now();
    switch (settling.type) {
      case 'Acknowledge':
        return this.each(settling.ids, (topic, offsets) =>
          draft.apply({ type: 'Acknowledge', topic, offsets }),
        );
      case 'AcknowledgeUpTo':
        return E.right(this.acknowledgeUpTo(settling.id));
      case 'Reject': {
        const { delayMs } = settling;
        return this.each(settling.ids, (topic, offsets) =>
          draft.apply({ type: 'Reject', topic, offsets, delayMs, now, jitter: random() }),
        );
      }
      case 'Extend':
        return this.each(settling.ids, (topic, offsets) =>
          draft.apply({ type: 'Extend', topic, offsets, now }),
        );
      case 'Terminate':
        return this.terminate(settling.ids);
      default:
        return assertNever(settling);
    }
  }

  private each(
    ids: readonly MessageId[],
    settle: (topic: TopicName, offsets: readonly Offset[]) => void,
  ): E.Either<never, Taken> {
    return E.right(eachKnown(ids, this.find, ({ topic }, offsets) => settle(topic, offsets)));
  }

  private readonly find = (topic: TopicName): Place | undefined => {
    const position = this.draft.state.positions.get(topic);
    return position === undefined ? undefined : { topic, position };
  };

  private acknowledgeUpTo(id: MessageId): Taken {
    const { topic } = id;
    const position = this.draft.state.positions.get(topic);
    if (position === undefined || id.offset > position.next.offset)
      return { ...NOTHING_TAKEN, unknown: [id] };
    const offsets = unacknowledgedUpTo(position, id.offset);
    if (offsets.length === 0) return { ...NOTHING_TAKEN, settledBefore: [id] };
    this.draft.apply({ type: 'Acknowledge', topic, offsets });
    return { ...NOTHING_TAKEN, count: offsets.length };
  }

  /** Published to the dead-letter topic first: should the append be refused, publishing again has no effect. */
  private async terminate(ids: readonly MessageId[]): Promise<E.Either<StoreUnavailable, Taken>> {
    const known: (readonly [Place, readonly Offset[]])[] = [];
    const taken = eachKnown(ids, this.find, (...each) => known.push(each));
    for (const [{ topic, position }, offsets] of known) {
      for (const delivered of deliveredOf(position, offsets)) {
        const buried = await this.bury(topic, delivered);
        if (E.isLeft(buried)) return buried;
      }
      this.draft.apply({ type: 'DeadLetter', topic, offsets, reason: 'terminated' });
    }
    return E.right(taken);
  }

  private bury(topic: TopicName, { attempt, offsets }: Delivered): Promise<E.Either<StoreUnavailable, void>> {
    const { store, deadLetters } = this.dependencies;
    return F.pipe(
      readMessages(store, topic, offsets),
      TE.map((messages) => messages.map((message) => ({ message, attempts: attempt }))),
      TE.flatMap((letters) => deadLetters.bury(this.identity, topic, letters, 'terminated')),
    )();
  }
}

/**
 * A client that acknowledges many messages one by one, at once, would race itself for its journal and lose: here its
 * requests wait for each other.
 */
class Turns {
  private readonly last = new Map<string, Promise<unknown>>();

  async take<A>(key: string, run: () => Promise<A>): Promise<A> {
    const turn = (this.last.get(key) ?? Promise.resolve()).then(run, run);
    this.last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.last.get(key) === turn) this.last.delete(key);
    }
  }
}
