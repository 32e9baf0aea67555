/** What a subscription is promised: see at-least-once.ts and at-most-once.ts. */
export type Guarantee = 'at_least_once' | 'at_most_once';
