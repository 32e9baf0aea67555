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
  type TopicPosition,
} from '../domain/subscription/topic-position.js';
import type { Milliseconds } from '../domain/time.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { DeadLetters } from './dead-letters.js';
import { byTopic } from './ids-of-topic.js';
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
  const taking = new Taking(dependencies, loaded.right);
  const failure = await taking.take(settling);
  if (failure !== undefined) return E.left(failure);
  const { session } = loaded.right.state;
  const isHeld = session !== undefined && session !== POLLS;
  if (isHeld && taking.unknown.length > 0 && !isLastLook) return 'look_again';
  const appended = await journal.append(loaded.right, taking.draft.events, { isHeldElsewhere: isHeld })();
  if (E.isLeft(appended)) return appended;
  if (settling.type === 'Acknowledge' || settling.type === 'AcknowledgeUpTo')
    metrics.messagesAcknowledged(taking.count);
  // A poll that waits finds out about acknowledgements by itself; what is given back it should have now.
  if (taking.draft.events.length > 0 && (isHeld || settling.type === 'Reject'))
    signals.send(identity, undefined);
  return E.right(await taking.settled(store));
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

/** What one request does to a subscription, and the ids that it does nothing to. */
class Taking {
  readonly draft: SubscriptionDraft;
  readonly unknown: MessageId[] = [];
  count = 0;
  private readonly settledBefore: MessageId[] = [];

  constructor(
    private readonly dependencies: SettleDependencies,
    private readonly folded: Folded,
  ) {
    this.draft = new SubscriptionDraft(folded.state);
  }

  async take(settling: Settling): Promise<StoreUnavailable | undefined> {
    const { clock, random } = this.dependencies;
    const now = clock.now();
    switch (settling.type) {
      case 'Acknowledge':
        this.eachKnown(settling.ids, (topic, offsets) =>
          this.draft.apply({ type: 'Acknowledge', topic, offsets }),
        );
        return undefined;
      case 'AcknowledgeUpTo':
        this.acknowledgeUpTo(settling.id);
        return undefined;
      case 'Reject':
        this.eachKnown(settling.ids, (topic, offsets) =>
          this.draft.apply({
            type: 'Reject',
            topic,
            offsets,
            delayMs: settling.delayMs,
            now,
            jitter: random(),
          }),
        );
        return undefined;
      case 'Extend':
        this.eachKnown(settling.ids, (topic, offsets) =>
          this.draft.apply({ type: 'Extend', topic, offsets, now }),
        );
        return undefined;
      case 'Terminate':
        return this.terminate(settling.ids);
      default:
        return assertNever(settling);
    }
  }

  async settled(store: EventStore): Promise<Settled> {
    const became = await whatBecameOf(store, this.settledBefore)();
    return { ...became, count: this.count, unknown: [...this.unknown, ...became.unknown] };
  }

  private eachKnown(
    ids: readonly MessageId[],
    settle: (topic: TopicName, offsets: readonly Offset[], position: TopicPosition) => void,
  ): void {
    for (const { topic, offsets, ids: idsOfTopic } of byTopic(ids)) {
      const position = this.draft.state.positions.get(topic);
      if (position === undefined) {
        this.unknown.push(...idsOfTopic);
        continue;
      }
      const found = settlementOf(position, offsets);
      this.count += found.known.length;
      for (const id of idsOfTopic) {
        if (found.unknown.includes(id.offset)) this.unknown.push(id);
        else if (found.settled.includes(id.offset)) this.settledBefore.push(id);
      }
      if (found.known.length > 0) settle(topic, found.known, position);
    }
  }

  private acknowledgeUpTo(id: MessageId): void {
    const position = this.draft.state.positions.get(id.topic);
    if (position === undefined || id.offset > position.next.offset) {
      this.unknown.push(id);
      return;
    }
    const offsets = unacknowledgedUpTo(position, id.offset);
    this.count = offsets.length;
    if (offsets.length === 0) this.settledBefore.push(id);
    else this.draft.apply({ type: 'Acknowledge', topic: id.topic, offsets });
  }

  /** Published to the dead-letter topic first: should the append be refused, publishing again has no effect. */
  private async terminate(ids: readonly MessageId[]): Promise<StoreUnavailable | undefined> {
    const { store, deadLetters } = this.dependencies;
    const known: (readonly [TopicName, readonly Offset[], TopicPosition])[] = [];
    this.eachKnown(ids, (...each) => known.push(each));
    for (const [topic, offsets, position] of known) {
      for (const { attempt, offsets: equallyOften } of deliveredOf(position, offsets)) {
        const buried = await F.pipe(
          readMessages(store, topic, equallyOften),
          TE.flatMap((messages) =>
            deadLetters.bury(
              this.folded.identity,
              topic,
              messages.map((message) => ({ message, attempts: attempt })),
              'terminated',
            ),
          ),
        )();
        if (E.isLeft(buried)) return buried.left;
      }
      this.draft.apply({ type: 'DeadLetter', topic, offsets, reason: 'terminated' });
    }
    return undefined;
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
