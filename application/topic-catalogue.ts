/**
 * Which topics exist: what patterns are matched against. Followed from the first pattern on, so that an installation
 * without patterns pays nothing for them. The feed tells what comes into being. What is gone tells nobody, so the
 * catalogue is read anew once in a while: no name is kept for longer than that after the store has forgotten it.
 */
import { either as E, type taskEither as TE } from 'fp-ts';
import { NO_OFFSET } from '../domain/message/offset.js';
import { selects } from '../domain/subscription/subscription.js';
import type { Instant, Milliseconds } from '../domain/time.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { TopicPattern } from '../domain/topic/topic-pattern.js';
import type { Cancel, Clock } from './ports/clock.js';
import type { EventFeed, Following } from './ports/event-feed.js';
import {
  CATALOGUE,
  sweepIntervalMs,
  topicIdleMs,
  type EventStore,
  type RetentionSettings,
  type StoreUnavailable,
} from './ports/event-store.js';

const PAGE = 1_000;

/**
 * How often it is worth looking for topics that are gone. A quarter of what a topic lives unused: names that nobody
 * uses any more are then at most half as many again as those that are, if topics come and go at an even pace.
 */
export const forgettingIntervalMs = (
  retention: Pick<RetentionSettings, 'messagesMs' | 'subscriptionMs'>,
): Milliseconds => sweepIntervalMs(topicIdleMs(retention) / 4);

/**
 * Older than this is whatever a topic had that is gone by now: it was silent for at least as long as messages are kept.
 * A topic with a newer message has come back.
 */
export const goneBefore = (now: Instant, { messagesMs }: Pick<RetentionSettings, 'messagesMs'>): Instant =>
  now - messagesMs;

export class TopicCatalogue {
  private readonly topics = new Set<TopicName>();
  private readonly createdListeners = new Set<(topic: TopicName) => void>();
  private readonly forgottenListeners = new Set<(topics: readonly TopicName[]) => void>();
  private loading: Promise<E.Either<StoreUnavailable, void>> | undefined;
  private following: Following | undefined;
  /** What the feed has told since the reading that is under way has begun; undefined where none is. */
  private toldMeanwhile: Set<TopicName> | undefined;
  private cancelReread: Cancel | undefined;
  private isClosed = false;

  constructor(
    private readonly store: EventStore,
    private readonly feed: EventFeed,
    private readonly clock: Clock,
    private readonly rereadIntervalMs: Milliseconds,
  ) {}

  /** Every topic there is that one of `patterns` matches. */
  matching(patterns: readonly TopicPattern[]): TE.TaskEither<StoreUnavailable, readonly TopicName[]> {
    return async () => {
      this.loading ??= this.load();
      const loaded = await this.loading;
      if (E.isLeft(loaded)) {
        this.loading = undefined;
        return loaded;
      }
      return E.right([...this.topics].filter((topic) => selects(patterns, topic)));
    };
  }

  /**
   * Calls `listener` for every topic that comes into being after `matching` was first answered, and once more for one
   * that was forgotten and comes back.
   */
  onCreated(listener: (topic: TopicName) => void): void {
    this.createdListeners.add(listener);
  }

  /** Calls `listener` with topics that do not exist any more; `matching` does not answer them by then. */
  onForgotten(listener: (topics: readonly TopicName[]) => void): void {
    this.forgottenListeners.add(listener);
  }

  /** Ends the following and the reading; no listener is called after it. */
  close(): void {
    this.isClosed = true;
    this.cancelReread?.();
    this.following?.stop();
  }

  /**
   * Follows first and reads second: a topic that is created meanwhile is found by one of the two, or by both. What is
   * found here is told to no listener: whoever wants it waits for this reading.
   */
  private async load(): Promise<E.Either<StoreUnavailable, void>> {
    const following = this.feed.follow(CATALOGUE, (events) => {
      for (const { event } of events) this.onTold(event.topic);
    });
    this.following = following;
    const start = await following.start();
    const read = E.isLeft(start) ? start : await this.readAll();
    if (E.isLeft(read)) {
      following.stop();
      return read;
    }
    for (const topic of read.right) this.topics.add(topic);
    this.scheduleReread();
    return E.right(undefined);
  }

  private scheduleReread(): void {
    if (this.isClosed) return;
    this.cancelReread = this.clock.after(this.rereadIntervalMs, () => void this.reread());
  }

  /** A reading that fails changes nothing: what is kept too long is forgotten by the next one. */
  private async reread(): Promise<void> {
    const toldMeanwhile = new Set<TopicName>();
    this.toldMeanwhile = toldMeanwhile;
    const read = await this.readAll();
    this.toldMeanwhile = undefined;
    if (this.isClosed) return;
    if (E.isRight(read)) {
      this.forgetAllBut(read.right, toldMeanwhile);
      for (const topic of read.right) this.add(topic);
    }
    this.scheduleReread();
  }

  /** A topic that was created behind the place that the reading had reached is not in it, but the feed has told it. */
  private forgetAllBut(read: ReadonlySet<TopicName>, toldMeanwhile: ReadonlySet<TopicName>): void {
    const forgotten = [...this.topics].filter((topic) => !read.has(topic) && !toldMeanwhile.has(topic));
    if (forgotten.length === 0) return;
    for (const topic of forgotten) this.topics.delete(topic);
    for (const listener of this.forgottenListeners) listener(forgotten);
  }

  private async readAll(): Promise<E.Either<StoreUnavailable, ReadonlySet<TopicName>>> {
    const topics = new Set<TopicName>();
    for (let after = NO_OFFSET; ;) {
      const page = await this.store.read(CATALOGUE, after, PAGE)();
      if (E.isLeft(page)) return page;
      for (const { event } of page.right) topics.add(event.topic);
      const last = page.right[page.right.length - 1];
      if (last === undefined) return E.right(topics);
      after = last.offset;
    }
  }

  private onTold(topic: TopicName): void {
    this.toldMeanwhile?.add(topic);
    this.add(topic);
  }

  private add(topic: TopicName): void {
    if (this.topics.has(topic)) return;
    this.topics.add(topic);
    for (const listener of this.createdListeners) listener(topic);
  }
}
