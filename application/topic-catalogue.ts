/**
 * Which topics exist: what patterns are matched against. Followed from the first pattern on, so that an installation
 * without patterns pays nothing for them.
 */
import { either as E, type taskEither as TE } from 'fp-ts';
import { NO_OFFSET } from '../domain/message/offset.js';
import { selects } from '../domain/subscription/subscription.js';
import type { TopicName } from '../domain/topic/topic-name.js';
import type { TopicPattern } from '../domain/topic/topic-pattern.js';
import type { EventFeed } from './ports/event-feed.js';
import { CATALOGUE, type EventStore, type StoreUnavailable } from './ports/event-store.js';

const PAGE = 1_000;

export class TopicCatalogue {
  private readonly topics = new Set<TopicName>();
  private readonly listeners = new Set<(topic: TopicName) => void>();
  private loading: Promise<E.Either<StoreUnavailable, void>> | undefined;

  constructor(
    private readonly store: EventStore,
    private readonly feed: EventFeed,
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

  /** Calls `listener` for every topic that comes into being, once `matching` has been asked for. */
  onCreated(listener: (topic: TopicName) => void): void {
    this.listeners.add(listener);
  }

  /** Follows first and reads second: a topic that is created meanwhile is found by one of the two, or by both. */
  private async load(): Promise<E.Either<StoreUnavailable, void>> {
    const following = this.feed.follow(CATALOGUE, (events) => {
      for (const { event } of events) this.add(event.topic);
    });
    const start = await following.start();
    if (E.isLeft(start)) {
      following.stop();
      return start;
    }
    for (let after = NO_OFFSET; ;) {
      const page = await this.store.read(CATALOGUE, after, PAGE)();
      if (E.isLeft(page)) {
        following.stop();
        return page;
      }
      for (const { event } of page.right) this.add(event.topic);
      const last = page.right[page.right.length - 1];
      if (last === undefined) return E.right(undefined);
      after = last.offset;
    }
  }

  private add(topic: TopicName): void {
    if (this.topics.has(topic)) return;
    this.topics.add(topic);
    for (const listener of this.listeners) listener(topic);
  }
}
