import { expect } from 'chai';
import { topicStream, type EventStore } from '../../../application/ports/event-store.js';
import { readEnds } from '../../../infrastructure/valkey/stream-ends.js';
import { aTopic, messages } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { right } from '../../support/task-either.js';
import { openSharedValkey, untoldStore, type OpenedValkey } from './open-valkey.js';

/** Above the interval of the position check. */
const POSITION_CHECKED_MS = 7_000;

describe('Many streams in Valkey', () => {
  let opened: OpenedValkey;

  beforeEach(async () => {
    opened = await openSharedValkey();
  });
  afterEach(() => opened.close());

  it('are asked for their ends in one go, with the answers that each gives by itself', async () => {
    const { store, names, connection } = opened;
    const [full, trimmed, emptied, missing] = ['full', 'trimmed', 'emptied', 'missing'].map((name) =>
      topicStream(aTopic(name)),
    ) as [TopicStream, TopicStream, TopicStream, TopicStream];
    await right(store.append(full, messages(3)));
    const places = await right(store.append(trimmed, messages(5)));
    await right(store.trim(trimmed, places[3]!.offset));
    const [only] = await right(store.append(emptied, messages(1)));
    await right(store.remove(emptied, [only!.offset]));
    const streams = [missing, full, trimmed, emptied, full];
    const alone = await Promise.all(streams.map((stream) => right(store.bounds(stream))));
    const ends = await right(() =>
      readEnds(
        connection,
        streams.map((stream) => names.key(stream)),
      ),
    );
    expect(ends).to.deep.equal(alone.map(({ last }) => last));
    expect(ends.map((end) => end?.n)).to.deep.equal([0, 3, 5, 1, 3]);
  });

  it('are said of every stream but the one whose key holds something else', async () => {
    const { connection, names, store } = opened;
    const [full, other] = ['full', 'other'].map((name) => topicStream(aTopic(name))) as [
      TopicStream,
      TopicStream,
    ];
    await right(store.append(full, messages(3)));
    await connection.reads.set(names.key(other), 'somebody else has put this here');
    const keys = [full, other, full].map((stream) => names.key(stream));
    const ends = await right(() => readEnds(connection, keys));
    expect(ends.map((end) => end?.n)).to.deep.equal([3, undefined, 3]);
  });

  describe('that are followed, more of them than a question or a SUBSCRIBE takes', () => {
    const COUNT = 1_205;
    const SOME = [0, 199, 200, 999, 1_000, COUNT - 1];
    let told: Map<number, number[]>;

    const streamAt = (i: number): TopicStream => topicStream(aTopic(`many.${i}`));

    const appendToSome = async (store: EventStore): Promise<void> => {
      for (const i of SOME) await right(store.append(streamAt(i), messages(1)));
    };

    beforeEach(async () => {
      told = new Map();
      await Promise.all(
        Array.from({ length: COUNT }, (_, i) => {
          const numbers: number[] = [];
          told.set(i, numbers);
          const following = opened.feed.follow(streamAt(i), (events) =>
            numbers.push(...events.map(({ n }) => n)),
          );
          return right(following.start);
        }),
      );
    });

    const expectTold = async (numbers: readonly number[], timeoutMs?: number): Promise<void> => {
      for (const i of SOME) await eventually(() => expect(told.get(i)).to.deep.equal(numbers), timeoutMs);
      expect([...told.values()].flat()).to.have.length(SOME.length * numbers.length);
    };

    it('are all told of, also on the next connection', async () => {
      await appendToSome(opened.store);
      await expectTold([1]);
      opened.connection.reset(opened.connection.subscriber);
      await appendToSome(opened.store);
      await expectTold([1, 2]);
      await appendToSome(opened.store);
      await expectTold([1, 2, 3]);
    });

    it('are all found out about where pub/sub has lost something', async () => {
      await appendToSome(untoldStore(opened));
      await expectTold([1], POSITION_CHECKED_MS);
    });
  });
});

type TopicStream = ReturnType<typeof topicStream>;
