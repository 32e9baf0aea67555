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
  private decided: readonly SubscriptionEvent[] = [];

  constructor(private current: Subscription) {}

  /** Everything that has been decided so far, in order. */
  get events(): readonly SubscriptionEvent[] {
    return this.decided;
  }

  /** With all of that. */
  get state(): Subscription {
    return this.current;
  }

  /** Only for what cannot be refused: whoever drafts has looked at the state first. */
  apply(command: SubscriptionCommand): void {
    const events = subscription.decide(this.current, command);
    if (E.isLeft(events)) throw new Error(`asked for what may not be: ${events.left._tag}`);
    // Mostly nothing has expired, of which every poll asks.
    if (events.right.length === 0) return;
    this.decided = this.decided.length === 0 ? events.right : this.decided.concat(events.right);
    this.current = replay(subscription, this.current, events.right);
  }
}
