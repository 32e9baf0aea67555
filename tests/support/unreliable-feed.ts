/** A feed in front of another that cannot be reached, or loses events, while a test says so. */
import { either as E } from 'fp-ts';
import type { EventFeed, Following } from '../../application/ports/event-feed.js';
import type { StoredEvent, Stream } from '../../application/ports/event-store.js';
import type { Recorded } from '../../domain/message/offset.js';

export class UnreliableFeed implements EventFeed {
  isReachable = true;
  /** Events that are never told, by their `n`. */
  loses: (n: number) => boolean = () => false;
  /** How many streams are followed. */
  followed = 0;

  constructor(private readonly feed: EventFeed) {}

  follow<Event extends StoredEvent>(
    stream: Stream<Event>,
    onEvents: (events: readonly Recorded<Event>[]) => void,
  ): Following {
    if (this.isReachable) {
      const following = this.feed.follow(stream, (events: readonly Recorded<Event>[]) => {
        const told = events.filter(({ n }) => !this.loses(n));
        if (told.length > 0) onEvents(told);
      });
      this.followed += 1;
      let hasStopped = false;
      return {
        start: following.start,
        stop: () => {
          if (!hasStopped) this.followed -= 1;
          hasStopped = true;
          following.stop();
        },
      };
    }
    return {
      start: () =>
        Promise.resolve(
          E.left({
            _tag: 'StoreUnavailable',
            outcome: 'not_stored',
            reason: 'disconnected',
            cause: undefined,
          }),
        ),
      stop: () => undefined,
    };
  }
}
