/**
 * A store in front of another that goes wrong when a test wants it to: calls fail before or after they had their
 * effect, and take as long as the test lets them.
 */
import { either as E, type taskEither as TE } from 'fp-ts';
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

export interface StoreCall {
  readonly operation: 'append' | 'appendOnce' | 'read' | 'bounds' | 'trim' | 'remove';
  readonly stream: Stream;
}

/** `lost`: sent, not answered and not done. `unanswered`: done, but nobody hears of it. */
export type Fault = 'not_stored' | 'lost' | 'unanswered';

export class UnreliableStore implements EventStore {
  /** What goes wrong with a call. */
  fault: (call: StoreCall) => Fault | undefined = () => undefined;
  /** What a call waits for on its way to the store, and its answer on the way back. */
  delay: ((call: StoreCall, way: 'to' | 'from') => Promise<void>) | undefined;
  /** Where nothing is held in memory, everything has to be read. */
  canPeek = true;

  constructor(private readonly store: EventStore) {}

  append<Event extends StoredEvent>(
    stream: Stream<Event>,
    events: readonly Event[],
    options?: AppendOptions,
  ): TE.TaskEither<StoreUnavailable | VersionConflict, readonly Cursor[]> {
    return this.pass({ operation: 'append', stream }, this.store.append(stream, events, options));
  }

  appendOnce<Event extends StoredEvent>(
    stream: Stream<Event>,
    items: readonly OnceItem<Event>[],
    options?: Pick<AppendOptions, 'durability'>,
  ): TE.TaskEither<StoreUnavailable, readonly OnceOutcome[]> {
    return this.pass({ operation: 'appendOnce', stream }, this.store.appendOnce(stream, items, options));
  }

  read<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Offset,
    limit: number,
  ): TE.TaskEither<StoreUnavailable, readonly Recorded<Event>[]> {
    return this.pass({ operation: 'read', stream }, this.store.read(stream, after, limit));
  }

  peek<Event extends StoredEvent>(
    stream: Stream<Event>,
    after: Cursor,
    limit: number,
  ): readonly Recorded<Event>[] | undefined {
    return this.canPeek ? this.store.peek(stream, after, limit) : undefined;
  }

  bounds(stream: Stream): TE.TaskEither<StoreUnavailable, Bounds> {
    return this.pass({ operation: 'bounds', stream }, this.store.bounds(stream));
  }

  trim(stream: Stream, below: Offset): TE.TaskEither<StoreUnavailable, void> {
    return this.pass({ operation: 'trim', stream }, this.store.trim(stream, below));
  }

  remove(stream: Stream, offsets: readonly Offset[]): TE.TaskEither<StoreUnavailable, number> {
    return this.pass({ operation: 'remove', stream }, this.store.remove(stream, offsets));
  }

  /** The next call that `isMeant` goes wrong; what comes after it does not. */
  failOnce(fault: Fault, isMeant: (call: StoreCall) => boolean): void {
    this.fault = (call) => {
      if (!isMeant(call)) return undefined;
      this.fault = () => undefined;
      return fault;
    };
  }

  /** Holds the calls that `isMeant`, one way, until the answered function is called. */
  hold(isMeant: (call: StoreCall, way: 'to' | 'from') => boolean): () => void {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    this.delay = (call, way) => (isMeant(call, way) ? released : Promise.resolve());
    return () => {
      this.delay = undefined;
      release();
    };
  }

  private pass<L, A>(call: StoreCall, task: TE.TaskEither<L, A>): TE.TaskEither<L | StoreUnavailable, A> {
    return async () => {
      if (this.delay !== undefined) await this.delay(call, 'to');
      const fault = this.fault(call);
      if (fault === 'not_stored') return unavailable('not_stored');
      if (fault === 'lost') return unavailable('unknown');
      const answer = await task();
      if (this.delay !== undefined) await this.delay(call, 'from');
      return fault === 'unanswered' ? unavailable('unknown') : answer;
    };
  }
}

/** Is it an append to a subscription's journal? */
export const isCommit = ({ operation, stream }: StoreCall): boolean =>
  operation === 'append' && stream.kind === 'subscription';

/** Is it a read of a topic? */
export const isTopicRead = ({ operation, stream }: StoreCall): boolean =>
  operation === 'read' && stream.kind === 'topic';

const unavailable = (outcome: StoreUnavailable['outcome']): E.Either<StoreUnavailable, never> =>
  E.left({ _tag: 'StoreUnavailable', outcome, reason: 'disconnected', cause: undefined });
