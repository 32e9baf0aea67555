/**
 * The topics that this instance follows, each once, for as long as somebody here listens.
 *
 * HOT PATH, budget 1.3 µs per delivery (npm run bench): a feed batch is wrapped once and handed to every listener in a
 * plain loop; no promise, closure or copy per listener.
 */
import { either as E } from 'fp-ts';
import { instantOf, toCursor, type Cursor, type Recorded } from '../domain/message/offset.js';
import type { Instant, Milliseconds } from '../domain/time.js';
import type { MessagePublished, TopicEvent } from '../domain/topic/topic-events.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { MessageBatch } from './ports/client-connection.js';
import type { Cancel, Clock } from './ports/clock.js';
import type { EventFeed, Following } from './ports/event-feed.js';
import { topicStream, type StoreUnavailable } from './ports/event-store.js';
import { LinkedList, type Linked } from './linked-list.js';
import type { Metrics } from './ports/metrics.js';

export interface TopicListener {
  /** New messages at the head of the topic. Answers how many of them it has written to a connection just now. */
  onBatch(batch: MessageBatch): number;
  /** The topic has lost messages; the loss, and what came with it, is to be read from the store. */
  onLost(): void;
  /** How many messages of the topic it still has to deliver, given the topic's head. */
  lag(head: Cursor): number;
}

export interface Membership {
  /** Resolves once following: from then on `head` is known and every message above it is told. */
  readonly joined: Promise<E.Either<StoreUnavailable, void>>;
  /** The last message of the topic that this instance knows of. Undefined before `joined`. */
  head(): Cursor | undefined;
  leave(): void;
}

interface LiveTopic {
  readonly name: TopicName;
  readonly listeners: LinkedList<ListenerMembership>;
  readonly following: Following;
  joined: Promise<E.Either<StoreUnavailable, void>>;
  head: Cursor | undefined;
  cancelLinger: Cancel | undefined;
}

/** Pages in which clients catch up are kept for each other: as many as are likely to be asked for in one go. */
const PAGES_MAX = 64;
/** What their payloads may hold in memory together. */
const PAGES_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Clients that fell behind together ask within moments of each other. */
const PAGE_MS: Milliseconds = 5_000;

/** A topic stays followed for a while after its last listener: a reconnect then finds its messages in memory. */
const LINGER_MS: Milliseconds = 30_000;

/** A batch that is kept for the next client at the same place. */
interface Page {
  readonly batch: MessageBatch;
  readonly characters: number;
  readonly until: Instant;
}

export class LiveTopics {
  private readonly topics = new Map<TopicName, LiveTopic>();
  /** The oldest first. */
  private readonly pages = new Map<string, Page>();
  private pagesCharacters = 0;
  private isForgetting = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
  ) {
    metrics.observeQueueDepth(() => this.queueDepths());
  }

  join(name: TopicName, listener: TopicListener): Membership {
    const topic = this.topics.get(name) ?? this.follow(name);
    topic.cancelLinger?.();
    topic.cancelLinger = undefined;
    const membership = new ListenerMembership(topic, listener, this.onUnused);
    topic.listeners.add(membership);
    return membership;
  }

  private readonly onUnused = (topic: LiveTopic): void => {
    topic.cancelLinger = this.clock.after(LINGER_MS, () => this.forget(topic));
  };

  /**
   * The batch of these messages, the same for everybody who catches up from the same place: a thousand clients that
   * fell behind together are written the same bytes. What expires does so for all, so ends and count tell a page.
   */
  page(topic: TopicName, messages: MessageBatch['messages']): MessageBatch {
    const key = `${topic} ${messages[0]?.offset} ${messages[messages.length - 1]?.offset} ${messages.length}`;
    const known = this.pages.get(key);
    if (known !== undefined) return known.batch;
    const batch = toBatch(topic, messages);
    this.keep(key, batch);
    return batch;
  }

  private keep(key: string, batch: MessageBatch): void {
    let characters = 0;
    for (const { event } of batch.messages) characters += event.payload.length;
    if (!this.isForgetting) this.forgetPagesAfter(PAGE_MS);
    this.pages.set(key, { batch, characters, until: this.clock.now() + PAGE_MS });
    this.pagesCharacters += characters;
    for (const [oldest, page] of this.pages) {
      if (this.pages.size <= PAGES_MAX && this.pagesCharacters <= PAGES_CHARACTERS_MAX) break;
      this.dropPage(oldest, page);
    }
  }

  private forgetPagesAfter(delayMs: Milliseconds): void {
    this.isForgetting = true;
    this.clock.after(delayMs, () => {
      this.isForgetting = false;
      const now = this.clock.now();
      for (const [key, page] of this.pages) {
        if (page.until > now) {
          this.forgetPagesAfter(page.until - now);
          return;
        }
        this.dropPage(key, page);
      }
    });
  }

  private dropPage(key: string, { characters }: Page): void {
    this.pages.delete(key);
    this.pagesCharacters -= characters;
  }

  private follow(name: TopicName): LiveTopic {
    const following = this.feed.follow(topicStream(name), (events) => this.onEvents(topic, events));
    const joined = following.start().then((start) => {
      if (E.isRight(start)) {
        topic.head ??= start.right;
        topic.joined = HAS_JOINED;
        return JOINED;
      }
      // Not followed, so not to be found by the next one who wants it: that one tries anew.
      topic.listeners.forEach((membership) => membership.end());
      this.forget(topic);
      return start;
    });
    const topic: LiveTopic = {
      name,
      listeners: new LinkedList(),
      following,
      joined,
      head: undefined,
      cancelLinger: undefined,
    };
    this.topics.set(name, topic);
    return topic;
  }

  private forget(topic: LiveTopic): void {
    topic.following.stop();
    if (this.topics.get(topic.name) === topic) this.topics.delete(topic.name);
  }

  private onEvents(topic: LiveTopic, events: readonly Recorded<TopicEvent>[]): void {
    const last = events[events.length - 1];
    if (last === undefined) return;
    if (!areMessages(events)) {
      topic.head = { offset: last.offset, n: last.n };
      topic.listeners.forEach(({ listener }) => listener.onLost());
      return;
    }
    const batch = toBatch(topic.name, events);
    topic.head = batch.cursors[batch.cursors.length - 1];
    let written = 0;
    topic.listeners.forEach(({ listener }) => (written += listener.onBatch(batch)));
    if (written > 0)
      this.metrics.messagesDelivered('websocket', written, this.clock.now() - instantOf(last.offset));
  }

  private *queueDepths(): Iterable<readonly [TopicName, number]> {
    for (const { name, head, listeners } of this.topics.values()) {
      if (head === undefined) continue;
      let deepest = 0;
      listeners.forEach(({ listener }) => (deepest = Math.max(deepest, listener.lag(head))));
      yield [name, deepest];
    }
  }
}

/** An object and no closures: there may be a hundred thousand. */
class ListenerMembership implements Membership, Linked<ListenerMembership> {
  next: ListenerMembership | undefined;
  previous: ListenerMembership | undefined;
  private hasLeft = false;

  constructor(
    private readonly topic: LiveTopic,
    readonly listener: TopicListener,
    private readonly onUnused: (topic: LiveTopic) => void,
  ) {}

  get joined(): Membership['joined'] {
    return this.topic.joined;
  }

  head(): Cursor | undefined {
    return this.topic.head;
  }

  leave(): void {
    if (this.hasLeft) return;
    this.end();
    if (this.topic.listeners.isEmpty) this.onUnused(this.topic);
  }

  end(): void {
    this.hasLeft = true;
    this.topic.listeners.remove(this);
  }
}

const JOINED: E.Either<StoreUnavailable, void> = E.right(undefined);
/** One for all: of a hundred thousand topics, each would keep its own. */
const HAS_JOINED = Promise.resolve(JOINED);

/** One batch object for everybody who gets exactly these messages. */
export const toBatch = (topic: TopicName, messages: MessageBatch['messages']): MessageBatch => ({
  topic,
  messages,
  cursors: messages.map(toCursor),
});

/** Once per event and instance; a loss among them is as rare as it sounds. */
const areMessages = (
  events: readonly Recorded<TopicEvent>[],
): events is readonly Recorded<MessagePublished>[] => {
  for (const { event } of events) if (event.type !== 'MessagePublished') return false;
  return true;
};
