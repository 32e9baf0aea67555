import { expect } from 'chai';
import { topicStream } from '../../application/ports/event-store.js';
import { topicStarts } from '../../application/topic-starts.js';
import { BEGINNING, instantOf, offsetAt, type Cursor, type Offset } from '../../domain/message/offset.js';
import type { Start } from '../../domain/subscription/start.js';
import { aTopic, messages } from '../support/builders.js';
import { Backend } from '../support/instance.js';
import { left, right } from '../support/task-either.js';
import { UnreliableStore } from '../support/unreliable-store.js';

describe('Where a topic begins for a subscription', () => {
  const TOPIC = aTopic('orders');
  let backend: Backend;
  let cursors: readonly Cursor[];

  /** Three messages, a second apart. */
  beforeEach(async () => {
    backend = new Backend();
    const all: Cursor[] = [];
    for (let i = 1; i <= 3; i++) {
      all.push(...(await right(backend.store.append(topicStream(TOPIC), messages(1, i)))));
      await backend.pass(1_000);
    }
    cursors = all;
  });

  const startAt = async (start: Start, topic = TOPIC): Promise<Cursor | undefined> =>
    (await right(topicStarts(backend.store, [topic], start)))[0]?.at;

  const after = (offset: number): Start => ({ at: 'offset', after: offset as Offset });

  it('is its end: latest', async () => {
    expect(await startAt({ at: 'latest' })).to.deep.equal(cursors[2]);
  });

  it('is before its first message that is still there: earliest', async () => {
    expect(await startAt({ at: 'earliest' })).to.deep.include({ n: 0 });
    await right(backend.store.trim(topicStream(TOPIC), cursors[1]!.offset));
    expect(await startAt({ at: 'earliest' })).to.deep.include({ n: 1 });
  });

  it('is the beginning of a topic that does not exist yet', async () => {
    for (const start of [{ at: 'latest' }, { at: 'earliest' }, after(5)] as const) {
      expect(await startAt(start, aTopic('new'))).to.deep.equal(BEGINNING);
    }
  });

  it('is right behind an offset', async () => {
    expect(await startAt(after(cursors[0]!.offset))).to.deep.equal(cursors[0]);
    expect(await startAt(after(cursors[1]!.offset))).to.deep.equal(cursors[1]);
    expect(await startAt(after(cursors[2]!.offset))).to.deep.equal(cursors[2]);
  });

  it('is where the next message follows an offset between two', async () => {
    expect(await startAt(after(cursors[0]!.offset + 7))).to.deep.equal({
      offset: cursors[0]!.offset + 7,
      n: 1,
    });
  });

  it('is the first message at or after a time', async () => {
    const second = instantOf(cursors[1]!.offset);
    expect((await startAt(after(offsetAt(second) - 1)))?.n).to.equal(1);
    expect((await startAt(after(offsetAt(second + 1) - 1)))?.n).to.equal(2);
  });

  it('is the first that is left where an offset was trimmed, and the end where it lies ahead', async () => {
    await right(backend.store.trim(topicStream(TOPIC), cursors[1]!.offset));
    expect((await startAt(after(cursors[0]!.offset - 5)))?.n).to.equal(1);
    expect(await startAt(after(cursors[2]!.offset + 5_000))).to.deep.equal(cursors[2]);
  });

  it('is found for each topic, in their order', async () => {
    const topics = [aTopic('new'), TOPIC];
    const starts = await right(topicStarts(backend.store, topics, { at: 'latest' }));
    expect(starts).to.deep.equal([
      { topic: 'new', at: BEGINNING },
      { topic: TOPIC, at: cursors[2] },
    ]);
    expect(await right(topicStarts(backend.store, [], { at: 'latest' }))).to.deep.equal([]);
  });

  it('is unknown where the store cannot be reached', async () => {
    const store = new UnreliableStore(backend.store);
    store.fault = () => 'not_stored';
    expect(await left(topicStarts(store, [TOPIC], { at: 'latest' }))).to.include({
      _tag: 'StoreUnavailable',
    });
  });
});
