/** Everything that a use case can answer besides success. Interfaces map each to a status, a code and a close code. */
import type { SubscriptionRefusal } from '../domain/subscription/subscription.js';
import type { TopicRefusal } from '../domain/topic/topic.js';
import type { StoreUnavailable, VersionConflict } from './ports/event-store.js';

/** The principal's grants do not cover this. */
export interface Forbidden {
  readonly _tag: 'Forbidden';
  readonly action: 'publish' | 'subscribe' | 'manage';
  readonly topic: string;
}

/** The idempotency key was given to another message before, and that is not forgotten yet. */
export interface IdempotencyKeyReused {
  readonly _tag: 'IdempotencyKeyReused';
}

export type PublishRefusal = Forbidden | TopicRefusal | IdempotencyKeyReused | StoreUnavailable;

/** `VersionConflict`: several connections fight over one subscription, and this one lost too often to go on. */
export type SubscribeRefusal = Forbidden | SubscriptionRefusal | StoreUnavailable | VersionConflict;

export type Refusal = PublishRefusal | SubscribeRefusal;
