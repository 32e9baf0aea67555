/**
 * SubscriptionDraft: what one request decides on a subscription before any of it is recorded. Promises that the events
 * so far lead to the state that the next decision is made on.
 */
import { either as E } from 'fp-ts';
import { replay } from '../domain/decider.js';
import type { SubscriptionEvent } from '../domain/subscription/subscription-events.js';
import {
  subscription,
  type Subscription,
  type SubscriptionCommand,
} from '../domain/subscription/subscription.js';

export class SubscriptionDraft {
  readonly events: SubscriptionEvent[] = [];

  constructor(private current: Subscription) {}

  /** With everything that has been decided so far. */
  get state(): Subscription {
    return this.current;
  }

  /** Only for what cannot be refused: whoever drafts has looked at the state first. */
  apply(command: SubscriptionCommand): void {
    const decided = subscription.decide(this.current, command);
    if (E.isLeft(decided)) throw new Error(`asked for what may not be: ${decided.left._tag}`);
    this.events.push(...decided.right);
    this.current = replay(subscription, this.current, decided.right);
  }
}
