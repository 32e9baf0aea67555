/**
 * What happened in a fault run, as its clients saw it and as the storage holds it in the end. The recorders write it
 * down while it happens; `check` (checker.ts) judges it afterwards. All times are milliseconds of one monotonic clock.
 */
import { either as E } from 'fp-ts';
import { parseMessageId } from '../../domain/message/message-id.js';
import { parseOffset } from '../../domain/message/offset.js';

/** One message that a producer wanted stored. Its payload is unlike any other: it is what the message is known by. */
export interface Publish {
  readonly topic: string;
  /** As JSON text. */
  readonly payload: string;
  /** Sent with an Idempotency-Key, again and again until it was answered: `startedMs` is the first attempt. */
  readonly keyed: boolean;
  readonly startedMs: number;
  /** When the outcome was known; for `unknown`, when the producer gave up. */
  readonly answeredMs: number;
  readonly outcome: 'stored' | 'not_stored' | 'unknown';
  /** Where it was stored. */
  readonly messageId?: string;
}

/** What one subscription went through, in the order in which its client saw it. */
export interface SubscriptionHistory {
  readonly clientId: string;
  readonly guarantee: 'at_least_once' | 'at_most_once';
  /** Names and patterns. */
  readonly topics: readonly string[];
  readonly from: 'earliest' | 'latest';
  readonly connections: readonly Connection[];
  readonly events: readonly SubscriptionEvent[];
}

/** One socket, or one poll. Its number is its place in the list. */
export interface Connection {
  readonly via: 'socket' | 'poll';
  /** When the subscribe frame, or the poll, was sent. */
  readonly beganMs: number;
  /** Which proxy it went to; for people. */
  readonly at: string;
}

export type SubscriptionEvent = { readonly atMs: number; readonly connection: number } & (
  | { readonly type: 'Opened'; readonly recovered: boolean }
  | {
      readonly type: 'Delivered';
      readonly messageId: string;
      readonly payload: string;
      readonly attempt: number;
    }
  | {
      readonly type: 'GapTold';
      readonly topic: string;
      readonly from: string;
      readonly to: string;
      readonly reason: string;
    }
  /** The client has asked for these to be acknowledged; an `up_to` as all that it covers of what the client has. */
  | { readonly type: 'AckSent'; readonly messageIds: readonly string[] }
  /** The service has said that they are. */
  | { readonly type: 'AckConfirmed'; readonly messageIds: readonly string[] }
);

export interface StoredMessage {
  readonly messageId: string;
  readonly payload: string;
}

/** What the storage was told between these two may be forgotten: its log has lost an end, or everything was deleted. */
export interface Forgotten {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Published after everything was well again at `healedMs`: to be seen by everybody in time. */
export interface Probe {
  readonly topic: string;
  readonly payload: string;
  readonly healedMs: number;
  readonly withinMs: number;
}

export interface History {
  readonly publishes: readonly Publish[];
  readonly subscriptions: readonly SubscriptionHistory[];
  /** All streams, at the end, in their order. */
  readonly stored: readonly StoredMessage[];
  readonly forgotten: readonly Forgotten[];
  readonly probes: readonly Probe[];
}

export const topicOf = (messageId: string): string => messageId.slice(0, messageId.lastIndexOf(':'));

/** The place in its topic that an id names, as a number. */
export const offsetOfId = (messageId: string): number => {
  const parsed = parseMessageId(messageId);
  if (E.isLeft(parsed)) throw new Error(`${messageId} is no message id`);
  return parsed.right.offset;
};

/** The same for the bare `ms-seq` of a gap. */
export const offsetOfText = (text: string): number => {
  const parsed = parseOffset(text);
  if (E.isLeft(parsed)) throw new Error(`${text} is no offset`);
  return parsed.right;
};

/** Whether one of the names and patterns means this topic: `*` is one segment, a final `>` one or more. */
export const isMatched = (patterns: readonly string[], topic: string): boolean => {
  const segments = topic.split('.');
  return patterns.some((pattern) => {
    const wanted = pattern.split('.');
    const open = wanted.at(-1) === '>';
    const fixed = open ? wanted.slice(0, -1) : wanted;
    const fits = fixed.every((segment, i) => segment === '*' || segment === segments[i]);
    return fits && (open ? segments.length > fixed.length : segments.length === fixed.length);
  });
};

type WithoutTime<Event> = Event extends unknown ? Omit<Event, 'atMs'> : never;

/** Writes down what one client sees. */
export class SubscriptionRecorder implements SubscriptionHistory {
  readonly connections: Connection[] = [];
  readonly events: SubscriptionEvent[] = [];
  readonly payloadsReceived = new Set<string>();
  /** When a message came last. */
  deliveredMs = -Infinity;
  isOpened = false;

  constructor(
    readonly clientId: string,
    readonly guarantee: SubscriptionHistory['guarantee'],
    readonly topics: readonly string[],
    readonly from: SubscriptionHistory['from'],
    private readonly nowMs: () => number,
  ) {}

  /** Answers the number of the connection. */
  began(via: Connection['via'], at: string): number {
    return this.connections.push({ via, at, beganMs: this.nowMs() }) - 1;
  }

  record(event: WithoutTime<SubscriptionEvent>): void {
    this.events.push({ ...event, atMs: this.nowMs() });
    if (event.type === 'Opened') this.isOpened = true;
    if (event.type === 'Delivered') {
      this.payloadsReceived.add(event.payload);
      this.deliveredMs = this.nowMs();
    }
  }
}

/** Writes down a whole run. */
export class HistoryRecorder implements History {
  readonly publishes: Publish[] = [];
  readonly subscriptions: SubscriptionRecorder[] = [];
  readonly stored: StoredMessage[] = [];
  readonly forgotten: Forgotten[] = [];
  readonly probes: Probe[] = [];

  readonly nowMs = (): number => performance.now();

  subscription(
    clientId: string,
    guarantee: SubscriptionHistory['guarantee'],
    topics: readonly string[],
    from: SubscriptionHistory['from'],
  ): SubscriptionRecorder {
    const recorder = new SubscriptionRecorder(clientId, guarantee, topics, from, this.nowMs);
    this.subscriptions.push(recorder);
    return recorder;
  }
}
