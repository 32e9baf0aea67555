/**
 * What can happen to a subscription. Its journal is a stream of these, and its state is their fold.
 * Events speak of batches, not of single messages: that keeps a fold cheap at any rate.
 */
import type { Guarantee } from '../delivery/guarantee.js';
import type { Cursor, Offset } from '../message/offset.js';
import type { Instant, Milliseconds } from '../time.js';
import type { TopicName } from '../topic/topic-name.js';
import type { TopicPattern } from '../topic/topic-pattern.js';
import type { Pending } from './topic-position.js';

export interface SubscriptionSettings {
  /** How long a client has to acknowledge before the message is sent again. */
  readonly ackTimeoutMs: Milliseconds;
  /** How many messages may be delivered and not yet acknowledged, over all topics. */
  readonly maxInFlight: number;
  /** After how many deliveries a message is given up; 0: never. */
  readonly maxDeliveries: number;
  /** How long a message waits before it is delivered again, by the number of deliveries so far; the last one repeats. */
  readonly backoffMs: readonly Milliseconds[];
}

/** Where a topic begins for a subscription. */
export interface TopicStart {
  readonly topic: TopicName;
  readonly at: Cursor;
}

/** The subscription exists from here on, or its settings are replaced by these. */
export interface SubscriptionOpened {
  readonly type: 'SubscriptionOpened';
  readonly guarantee: Guarantee;
  readonly settings: SubscriptionSettings;
}

/** `topics` (names or patterns) were added; each name that exists already begins at its place in `starts`. */
export interface TopicsAdded {
  readonly type: 'TopicsAdded';
  readonly topics: readonly TopicPattern[];
  readonly starts: readonly TopicStart[];
}

export interface TopicsRemoved {
  readonly type: 'TopicsRemoved';
  readonly topics: readonly TopicPattern[];
}

/** A connection took the subscription over; whoever held it before has lost it. */
export interface SessionStarted {
  readonly type: 'SessionStarted';
  readonly session: string;
}

/** A batch was given to the client. Recorded before the send for at-most-once, and for every poll. */
export interface MessagesDispatched {
  readonly type: 'MessagesDispatched';
  readonly topic: TopicName;
  /** Everything up to here has now been looked at; what of it is not in `cursors` was settled or skipped. */
  readonly next: Cursor;
  readonly cursors: readonly Cursor[];
  readonly attempt: number;
  readonly deadline: Instant;
}

export interface MessagesAcknowledged {
  readonly type: 'MessagesAcknowledged';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
}

/** Given back by the client: to be sent again, not before `notBefore`. */
export interface MessagesRejected {
  readonly type: 'MessagesRejected';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly notBefore: Instant;
}

/** The client is still working on these: their acknowledgement is due at `deadline`. */
export interface DeadlineExtended {
  readonly type: 'DeadlineExtended';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly deadline: Instant;
}

/** The acknowledgement deadline of these passed: to be sent again, not before `notBefore`. */
export interface DeliveryExpired {
  readonly type: 'DeliveryExpired';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly notBefore: Instant;
}

/** Given up, and published to the dead-letter topic before this was recorded: settled. */
export interface MessagesDeadLettered {
  readonly type: 'MessagesDeadLettered';
  readonly topic: TopicName;
  readonly offsets: readonly Offset[];
  readonly reason: DeadLetterReason;
}

/** `max_deliveries`: delivered that often and never acknowledged. `terminated`: the client has given it up. */
export type DeadLetterReason = 'max_deliveries' | 'terminated';

/** These topics are gone, and so are the positions in them; a pattern may find them again when they come back. */
export interface TopicsForgotten {
  readonly type: 'TopicsForgotten';
  readonly topics: readonly TopicName[];
}

/** Everything up to `next` was looked at and nothing of it is to be delivered: its time was over, or it is gone. */
export interface MessagesSkipped {
  readonly type: 'MessagesSkipped';
  readonly topic: TopicName;
  readonly next: Cursor;
}

/**
 * A live connection's position, merged over everything since the last commit: read up to `next`, and of that only
 * `pending` is not acknowledged.
 */
export interface PositionCommitted {
  readonly type: 'PositionCommitted';
  readonly topic: TopicName;
  readonly next: Cursor;
  readonly pending: readonly Pending[];
}

/** The whole state, so that the journal in front of it can be forgotten. */
export interface SubscriptionSnapshotted {
  readonly type: 'SubscriptionSnapshotted';
  readonly guarantee: Guarantee;
  readonly settings: SubscriptionSettings;
  readonly session: string | undefined;
  readonly topics: readonly TopicPattern[];
  readonly positions: readonly {
    readonly topic: TopicName;
    readonly next: Cursor;
    readonly inFlight: readonly {
      readonly cursors: readonly Cursor[];
      readonly attempt: number;
      readonly deadline: Instant;
    }[];
    readonly due: readonly Pending[];
  }[];
}

export type SubscriptionEvent =
  | SubscriptionOpened
  | TopicsAdded
  | TopicsRemoved
  | SessionStarted
  | MessagesDispatched
  | MessagesAcknowledged
  | MessagesRejected
  | DeadlineExtended
  | DeliveryExpired
  | MessagesDeadLettered
  | TopicsForgotten
  | MessagesSkipped
  | PositionCommitted
  | SubscriptionSnapshotted;
