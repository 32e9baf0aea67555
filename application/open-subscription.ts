/**
 * Opening: what a subscribe frame and a poll have in common. Checks the grants, finds the topics that the names and
 * patterns stand for, and where each begins.
 */
import { either as E, function as F, taskEither as TE } from 'fp-ts';
import type { Guarantee } from '../domain/delivery/guarantee.js';
import { BEGINNING } from '../domain/message/offset.js';
import type { Start } from '../domain/subscription/start.js';
import type { SubscriptionSettings } from '../domain/subscription/subscription-events.js';
import {
  equalSettings,
  namedTopics,
  selects,
  type OpenSubscription,
  type Subscription,
} from '../domain/subscription/subscription.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import { isTopicName, type TopicPattern } from '../domain/topic/topic-pattern.js';
import { mayReceive, maySubscribe } from './authorise.js';
import type { Principal } from './ports/authenticator.js';
import type { Clock } from './ports/clock.js';
import type { EventStore, RetentionSettings, StoreUnavailable } from './ports/event-store.js';
import type { Forbidden } from './refusals.js';
import { goneBefore, type TopicCatalogue } from './topic-catalogue.js';
import { topicStarts } from './topic-starts.js';

/** What the client asks for. Whatever it leaves out is as it was, or the default where the subscription is new. */
export interface SubscriptionRequest {
  readonly topics: readonly TopicPattern[];
  readonly guarantee?: Guarantee;
  readonly start: Start;
  readonly ackTimeoutMs?: number;
  readonly maxInFlight?: number;
}

export interface SubscriptionDefaults {
  readonly settings: SubscriptionSettings;
  readonly topicsMax: number;
}

export interface PrepareOpening {
  (
    principal: Principal,
    state: Subscription,
    request: SubscriptionRequest,
    session: string,
  ): TE.TaskEither<Forbidden | StoreUnavailable, OpenSubscription>;
  /**
   * HOT PATH, for the usual poll: is everything there already that is asked for, so that opening would change nothing
   * and nobody need be asked? False where that is not certain.
   */
  isDone(principal: Principal, state: Subscription, request: SubscriptionRequest, session: string): boolean;
}

export interface OpeningDependencies {
  readonly store: EventStore;
  readonly catalogue: TopicCatalogue;
  readonly clock: Clock;
  readonly retention: RetentionSettings;
}

export const makePrepareOpening = (
  { store, catalogue, clock, retention }: OpeningDependencies,
  defaults: SubscriptionDefaults,
): PrepareOpening => {
  const prepare = (
    principal: Principal,
    state: Subscription,
    request: SubscriptionRequest,
    session: string,
  ): ReturnType<PrepareOpening> => {
    const added = request.topics.filter((topic) => !state.topics.includes(topic));
    const known = [...state.topics, ...added];
    return F.pipe(
      TE.fromEither<Forbidden | StoreUnavailable, readonly TopicPattern[]>(
        maySubscribe(principal, request.topics),
      ),
      TE.flatMap(() => matched(catalogue, known)),
      TE.flatMap((existing) => {
        const isNew = (topic: TopicName): boolean =>
          mayReceive(principal, topic) && !state.positions.has(topic);
        // Wanted from now on, against matched by a pattern that was there before the topic was.
        const isAdded = (topic: TopicName): boolean => selects(added, topic);
        const unknown = existing.filter(isNew);
        const since = unknown.filter((topic) => !isAdded(topic)).map((topic) => ({ topic, at: BEGINNING }));
        const named = namedTopics(added).filter(isNew);
        const now = [...new Set([...named, ...unknown.filter(isAdded)])];
        return F.pipe(
          topicStarts(store, now, request.start),
          TE.map((starts): OpenSubscription => ({
            type: 'Open',
            ...(request.guarantee === undefined ? {} : { guarantee: request.guarantee }),
            settings: settingsOf(state, request, defaults.settings),
            topics: request.topics,
            starts: [...since, ...starts],
            gone: {
              type: 'Forget',
              topics: goneTopics(state, existing),
              before: goneBefore(clock.now(), retention),
            },
            topicsMax: defaults.topicsMax,
            session,
          })),
        );
      }),
    );
  };

  const isDone: PrepareOpening['isDone'] = (principal, state, request, session) =>
    state.isOpen &&
    state.session === session &&
    // There may be fewer now than there were allowed.
    state.topics.length <= defaults.topicsMax &&
    (request.guarantee ?? state.guarantee) === state.guarantee &&
    // What a pattern matches, the catalogue has to say.
    state.topics.every(isTopicName) &&
    // Granted by name, in which case it is followed: what was added had a place from then on.
    request.topics.every(
      (topic) => isTopicName(topic) && state.positions.has(topic) && mayReceive(principal, topic),
    ) &&
    equalSettings(settingsOf(state, request, defaults.settings), state.settings);

  return Object.assign(prepare, { isDone });
};

const matched = (
  catalogue: TopicCatalogue,
  topics: readonly TopicPattern[],
): TE.TaskEither<StoreUnavailable, readonly TopicName[]> => {
  const patterns = topics.filter((topic) => !isTopicName(topic));
  return patterns.length === 0 ? () => Promise.resolve(E.right([])) : catalogue.matching(patterns);
};

/** Followed because a pattern had matched them, and not there any more. */
const goneTopics = (state: Subscription, existing: readonly TopicName[]): readonly TopicName[] => {
  const kept = new Set([...existing, ...namedTopics(state.topics)]);
  return [...state.positions.keys()].filter((topic) => !kept.has(topic));
};

/** The same object where nothing differs: there may be as many as there are clients. */
const settingsOf = (
  state: Subscription,
  { ackTimeoutMs, maxInFlight }: SubscriptionRequest,
  defaults: SubscriptionSettings,
): SubscriptionSettings => {
  const known = state.isOpen ? state.settings : defaults;
  const wanted = {
    ackTimeoutMs: ackTimeoutMs ?? known.ackTimeoutMs,
    maxInFlight: maxInFlight === undefined ? known.maxInFlight : Math.min(maxInFlight, defaults.maxInFlight),
    // The operator's to say, also for subscriptions from before the configuration was changed.
    maxDeliveries: defaults.maxDeliveries,
    backoffMs: defaults.backoffMs,
  };
  return equalSettings(wanted, known) ? known : wanted;
};
