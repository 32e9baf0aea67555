/** An event store whose process dies, as by kill -9, right before or right after the append that a failpoint names. */
import { taskEither as TE, function as F } from 'fp-ts';
import type {
  AppendOptions,
  Bounds,
  EventStore,
  OnceItem,
  OnceOutcome,
  StoredEvent,
  StoreUnavailable,
  Stream,
  VersionConflict,
} from '../../application/ports/event-store.js';
import type { Cursor, Offset, Recorded } from '../../domain/message/offset.js';
import type { Failpoint } from './failpoint.js';

export class FailingEventStore implements EventStore {
  private appends = 0;

  constructor(
    private readonly store: EventStore,
    private readonly failpoint: Failpoint,
    private readonly die: () => never,
  ) {}

  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    options?: AppendOptions,
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    return this.around(events, this.store.append(stream, events, options));
  }

  appendOnce<Event extends StoredEvent>(
    stream: Stream<Event>,
    items: readonly OnceItem<Event>[],
    options?: Pick<AppendOptions, 'durability'>,
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]> {
    const events = items.map(({ event }) => event);
    return this.around(events, this.store.appendOnce(stream, items, options));
  }

  read<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): TE.TaskEither<StoreUnavailable, readonly Recorded<Event>[]> {
    return this.store.read(stream, after, limit);
  }

  peek<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Cursor,
    limit: number,
  ): readonly Recorded<Event>[] | undefined {
    return this.store.peek(stream, after, limit);
  }

  bounds(stream: Stream): TE.TaskEither<StoreUnavailable, Bounds> {
    return this.store.bounds(stream);
  }

  trim(stream: Stream, below: Offset): TE.TaskEither<StoreUnavailable, void> {
    return this.store.trim(stream, below);
  }

  remove(stream: Stream, offsets: readonly Offset[]): TE.TaskEither<StoreUnavailable, number> {
    return this.store.remove(stream, offsets);
  }

  private around<Failure, A>(
    events: readonly StoredEvent[],
    append: TE.TaskEither<Failure, A>,
  ): TE.TaskEither<Failure, A> {
    const { when, event, nth } = this.failpoint;
    if (!events.some(({ type }) => type === event)) return append;
    return F.pipe(
      TE.fromIO(() => {
        this.appends += 1;
        // Or the next one that is not refused: an append loses its race now and then.
        const isNow = this.appends >= nth;
        if (isNow && when === 'before') this.die();
        return isNow;
      }),
      TE.flatMap((isNow) =>
        F.pipe(
          append,
          TE.map((answer) => (isNow ? this.die() : answer)),
        ),
      ),
    );
  }
}
