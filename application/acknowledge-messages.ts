/** Acknowledgement over HTTP: of what a poll was given, or of what a connection of this instance was. */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import { replay } from '../domain/decider.js';
import type { MessageId } from '../domain/message/message-id.js';
import type { ClientId, Identity } from '../domain/subscription/client-id.js';
import type { SubscriptionEvent } from '../domain/subscription/subscription-events.js';
import { subscription } from '../domain/subscription/subscription.js';
import { settlementOf } from '../domain/subscription/topic-position.js';
import type { Principal } from './ports/authenticator.js';
import type { StoreUnavailable, VersionConflict } from './ports/event-store.js';
import { byTopic, type Acknowledged } from './session.js';
import type { Sessions } from './sessions.js';
import { untilRaceIsWon, type Folded, type SubscriptionJournal } from './subscription-journal.js';

/** Idempotent. Answers once it is recorded; ids that were never delivered to this subscription are named. */
export type AcknowledgeMessages = (
  principal: Principal,
  clientId: ClientId,
  ids: readonly MessageId[],
) => TE.TaskEither<StoreUnavailable | VersionConflict, Acknowledged>;

/** The session knows and will record it with its next commit, but the caller was promised more than that. */
const NOT_RECORDED: StoreUnavailable = {
  _tag: 'StoreUnavailable',
  outcome: 'unknown',
  reason: 'failed',
  cause: undefined,
};

export const makeAcknowledgeMessages = (
  journal: SubscriptionJournal,
  sessions: Sessions,
): AcknowledgeMessages => {
  const turns = new Turns();
  return (principal, clientId, ids) => {
    const identity: Identity = { principal: principal.id, clientId };
    const acknowledge = async (): Promise<E.Either<StoreUnavailable | VersionConflict, Acknowledged>> => {
      const session = sessions.find(identity);
      if (session !== undefined) {
        const acknowledged = session.acknowledge(ids);
        const isRecorded = await session.commit();
        // One that has ended meanwhile may have recorded it or not: the journal knows, and takes it once more.
        if (!session.hasEnded) return isRecorded ? E.right(acknowledged) : E.left(NOT_RECORDED);
      }
      return F.pipe(
        journal.load(identity),
        TE.map((folded) => decide(folded, ids)),
        TE.tap(({ folded, events }) => journal.append(folded, events)),
        TE.map(({ acknowledged }) => acknowledged),
      )();
    };
    return () => turns.take(`${clientId} ${principal.id}`, () => untilRaceIsWon(acknowledge));
  };
};

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

const decide = (
  folded: Folded,
  ids: readonly MessageId[],
): {
  readonly folded: Folded;
  readonly events: readonly SubscriptionEvent[];
  readonly acknowledged: Acknowledged;
} => {
  const events: SubscriptionEvent[] = [];
  const unknown: MessageId[] = [];
  let { state } = folded;
  let acknowledged = 0;
  for (const { topic, offsets, ids: idsOfTopic } of byTopic(ids)) {
    const position = state.positions.get(topic);
    const decided = subscription.decide(state, { type: 'Acknowledge', topic, offsets });
    if (position === undefined || E.isLeft(decided)) {
      unknown.push(...idsOfTopic);
      continue;
    }
    const found = settlementOf(position, offsets);
    acknowledged += found.known.length + found.settled.length;
    const missing = new Set(found.unknown);
    unknown.push(...idsOfTopic.filter(({ offset }) => missing.has(offset)));
    events.push(...decided.right);
    state = replay(subscription, state, decided.right);
  }
  return { folded, events, acknowledged: { acknowledged, unknown } };
};
