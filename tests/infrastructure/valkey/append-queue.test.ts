import { expect } from 'chai';
import { either as E } from 'fp-ts';
import type { Redis } from 'iovalkey';
import sinon from 'sinon';
import {
  subscriptionStream,
  topicStream,
  type StoreUnavailable,
  type VersionConflict,
} from '../../../application/ports/event-store.js';
import { BEGINNING, NO_OFFSET, type Cursor } from '../../../domain/message/offset.js';
import { aMessage, anIdentity, aTopic, messages } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { payloadOf } from '../../support/payload-of.js';
import { sharedValkey } from '../../support/shared-valkey.js';
import { left, right } from '../../support/task-either.js';
import { startValkey, type ValkeyServer } from '../../support/valkey-server.js';
import { openSharedValkey, openValkey, someSettings, type OpenedValkey } from './open-valkey.js';
import { clientIds, commandCalls, connectAsAdmin, infoNumber } from './valkey-admin.js';

type Answer = E.Either<StoreUnavailable | VersionConflict, readonly Cursor[]>;

const orders = topicStream(aTopic('orders'));
const invoices = topicStream(aTopic('invoices'));

describe('AppendQueue', () => {
  describe('groups appends', () => {
    let opened: OpenedValkey;
    let admin: Redis;

    beforeEach(async () => {
      opened = await openSharedValkey();
      admin = connectAsAdmin(await sharedValkey());
      // The script is known and the first key exists from here on, so that counts are of the appends alone.
      await right(opened.store.append(orders, [aMessage()]));
    });
    afterEach(async () => {
      admin.disconnect();
      await opened.close();
    });

    const appendTo = (stream: typeof orders): Promise<unknown> =>
      right(opened.store.append(stream, messages(1)));

    const scriptCalls = async (): Promise<number> =>
      (await commandCalls(admin, 'evalsha')) + (await commandCalls(admin, 'eval'));

    const someTurns = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    };

    /** Of what is sent from now on, the reply to call `held` comes when it is released. */
    const holdReplyTo = (held: number) => {
      const { commands } = opened.connection;
      const send = commands.sendCommand.bind(commands);
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => (release = resolve));
      const sendCommand = sinon.stub(commands, 'sendCommand').callsFake((command, stream) => {
        if (sendCommand.callCount === held)
          command.promise = command.promise.then((reply: unknown) => released.then(() => reply));
        return send(command, stream);
      });
      return { sent: () => sendCommand.callCount, release };
    };

    it('of one tick into one script call, whatever topics they are for', async () => {
      const [calls, reads] = [
        await commandCalls(admin, 'evalsha'),
        await infoNumber(admin, 'total_reads_processed'),
      ];
      const streams = [orders, invoices, topicStream(aTopic('payments'))];
      await Promise.all(
        Array.from({ length: 300 }, (_, i) => right(opened.store.append(streams[i % 3]!, messages(1, i)))),
      );
      // What the administrator asks is a read too: one for each question before the last answer.
      expect((await infoNumber(admin, 'total_reads_processed')) - reads).to.be.at.most(1 + 1);
      expect((await commandCalls(admin, 'evalsha')) - calls).to.equal(1);
    });

    it('for more streams than a call should hold up Valkey for into several', async () => {
      const calls = await commandCalls(admin, 'evalsha');
      const answers = await Promise.all(
        Array.from({ length: 250 }, (_, i) =>
          right(opened.store.append(topicStream(aTopic(`t${i}`)), messages(2, i))),
        ),
      );
      expect((await commandCalls(admin, 'evalsha')) - calls).to.equal(Math.ceil(250 / 32));
      expect(answers.map((places) => places.map(({ n }) => n))).to.deep.equal(Array(250).fill([1, 2]));
      const last = await right(opened.store.read(topicStream(aTopic('t249')), NO_OFFSET, 10));
      expect(last.map(({ event }) => payloadOf(event))).to.deep.equal(['249', '250']);
    });

    it('of any number of small events into calls of a few thousand', async () => {
      const calls = await scriptCalls();
      const bulk = messages(1_000).map((event) => ({ ...event, payload: '1' }));
      const answers = await Promise.all(
        Array.from({ length: 150 }, (_, i) =>
          right(opened.store.append(topicStream(aTopic(`t${i % 50}`)), bulk)),
        ),
      );
      expect(answers.map((places) => places.length)).to.deep.equal(Array(150).fill(1_000));
      expect(answers.map((places) => places[0]?.n)).to.deep.equal(
        Array.from({ length: 150 }, (_, i) => 1 + 1_000 * Math.floor(i / 50)),
      );
      expect((await scriptCalls()) - calls).to.equal(150);
    });

    it('that wait for a group under way into the next one', async () => {
      const calls = await commandCalls(admin, 'evalsha');
      const first = right(opened.store.append(orders, messages(1)));
      await new Promise(setImmediate);
      const others = Array.from({ length: 50 }, (_, i) =>
        right(opened.store.append(orders, messages(1, i + 2))),
      );
      await Promise.all([first, ...others]);
      expect((await commandCalls(admin, 'evalsha')) - calls).to.equal(2);
    });

    it('and sends the next group before it answers the one before, so that Valkey does not wait for that', async () => {
      const log: string[] = [];
      const sendCommand = sinon.spy(opened.connection.commands, 'sendCommand');
      const appended = (name: string): Promise<unknown> =>
        right(opened.store.append(orders, messages(1))).then(() =>
          log.push(`${name} answered, ${sendCommand.callCount} sent`),
        );
      const first = appended('first');
      await new Promise(setImmediate);
      await Promise.all([first, appended('second')]);
      expect(log).to.deep.equal(['first answered, 2 sent', 'second answered, 2 sent']);
    });

    it('and sends no group before the one before it has all its replies', async () => {
      const { sent, release } = holdReplyTo(2);
      // Two calls.
      const first = Array.from({ length: 40 }, (_, i) => appendTo(topicStream(aTopic(`t${i}`))));
      await new Promise(setImmediate);
      const second = appendTo(orders);
      await Promise.all(first.slice(0, 32));
      await someTurns();
      expect(sent()).to.equal(2);
      release();
      await Promise.all([...first, second]);
      expect(sent()).to.equal(3);
    });

    it('and takes a group for under way until then, though the one before it has been answered', async () => {
      const { sent, release } = holdReplyTo(2);
      const first = appendTo(orders);
      await new Promise(setImmediate);
      const second = appendTo(orders);
      await first;
      const third = appendTo(orders);
      await someTurns();
      expect(sent()).to.equal(2);
      release();
      await Promise.all([second, third]);
      expect(sent()).to.equal(3);
    });

    it('and keeps the order in which they were made, within each topic', async () => {
      const cursors = await Promise.all(
        Array.from({ length: 200 }, (_, i) =>
          right(opened.store.append(i % 2 === 0 ? orders : invoices, messages(1 + (i % 3), i * 10))),
        ),
      );
      for (const [stream, parity] of [
        [orders, 0],
        [invoices, 1],
      ] as const) {
        const expected = cursors.flatMap((places, i) =>
          i % 2 === parity ? places.map((place, k) => [place.n, place.offset, String(i * 10 + k)]) : [],
        );
        const stored = await right(opened.store.read(stream, NO_OFFSET, 1000));
        const told = stored.map(({ n, offset, event }) => [n, offset, payloadOf(event)]);
        expect(told.slice(parity === 0 ? 1 : 0)).to.deep.equal(expected);
      }
    });

    it('and keeps the order within a topic also where some of them are to be stored once', async () => {
      const places = await Promise.all(
        Array.from({ length: 90 }, async (_, i) => {
          const event = aMessage({ payload: String(i) });
          if (i % 3 !== 0) return (await right(opened.store.append(orders, [event])))[0];
          const once = { key: `key-${i}`, fingerprint: 'f', windowMs: 60_000 };
          const [outcome] = await right(opened.store.appendOnce(orders, [{ event, once }]));
          return outcome?._tag === 'Stored' ? outcome.at : undefined;
        }),
      );
      expect(places.map((place) => place?.n)).to.deep.equal(Array.from({ length: 90 }, (_, i) => i + 2));
    });

    it('of which one that cannot be stored does not concern the others', async () => {
      await admin.set(opened.names.key(invoices), 'somebody else has put this here');
      const [before, refused, after] = await Promise.all([
        opened.store.append(orders, messages(1))(),
        opened.store.append(invoices, messages(1))(),
        opened.store.append(topicStream(aTopic('payments')), messages(1))(),
      ]);
      expect([before, after].map(({ _tag }) => _tag)).to.deep.equal(['Right', 'Right']);
      if (E.isRight(refused) || refused.left._tag !== 'StoreUnavailable') return expect.fail('was stored');
      expect(refused.left).to.include({ outcome: 'not_stored', reason: 'failed' });
      expect(String(refused.left.cause)).to.contain('WRONGTYPE');
    });

    it('but tells each that expects an end whether it was there', async () => {
      const journal = subscriptionStream(anIdentity());
      const calls = await commandCalls(admin, 'evalsha');
      const answers = await Promise.all(
        ['a', 'b', 'c'].map((session) =>
          opened.store.append(journal, [{ type: 'SessionStarted', session }], { expected: BEGINNING })(),
        ),
      );
      expect((await commandCalls(admin, 'evalsha')) - calls).to.equal(1);
      expect(answers.map(({ _tag }) => _tag)).to.deep.equal(['Right', 'Left', 'Left']);
      const { last } = await right(opened.store.bounds(journal));
      const conflict = answers[2];
      expect(conflict !== undefined && E.isLeft(conflict) && conflict.left).to.deep.equal({
        _tag: 'VersionConflict',
        actual: last,
      });
    });

    it('of more bytes than a group should carry into several, in order', async () => {
      const payload = `"${'x'.repeat(1024 * 1024)}"`;
      const cursors = await Promise.all(
        Array.from({ length: 12 }, () => right(opened.store.append(orders, [aMessage({ payload })]))),
      );
      expect(cursors.map(([cursor]) => cursor?.n)).to.deep.equal(Array.from({ length: 12 }, (_, i) => i + 2));
    });

    it('and stores all of them where Valkey has forgotten the script, once and in order', async () => {
      const appends = async () =>
        Promise.all(
          Array.from({ length: 40 }, (_, i) =>
            right(opened.store.append(i % 2 === 0 ? orders : invoices, messages(1, i))),
          ),
        );
      await appends();
      await admin.script('FLUSH');
      await appends();
      await admin.script('FLUSH');
      const [bounds] = [await right(opened.store.bounds(orders))];
      expect(bounds.last.n).to.equal(1 + 40);
      await appends();
      const stored = await right(opened.store.read(orders, NO_OFFSET, 1000));
      const evens = Array.from({ length: 20 }, (_, i) => String(i * 2));
      expect(stored.slice(1).map(({ event }) => payloadOf(event))).to.deep.equal([
        ...evens,
        ...evens,
        ...evens,
      ]);
    });

    it('and keeps the order within a topic also where Valkey has forgotten one script of two', async () => {
      await admin.script('FLUSH');
      // Sent again with its text: from here on this script is known, and the other one is not.
      await appendTo(invoices);
      const once = { key: 'key', fingerprint: 'f', windowMs: 60_000 };
      await Promise.all([
        right(opened.store.appendOnce(orders, [{ event: aMessage({ payload: '1' }), once }])),
        right(opened.store.append(orders, [aMessage({ payload: '2' })])),
      ]);
      const stored = await right(opened.store.read(orders, NO_OFFSET, 10));
      expect(stored.slice(1).map(({ event }) => payloadOf(event))).to.deep.equal(['1', '2']);
    });
  });

  describe('answers', () => {
    let server: ValkeyServer;
    let opened: OpenedValkey;
    const COMMAND_TIMEOUT_MS = 400;

    beforeEach(async () => {
      server = await startValkey();
      opened = await openValkey(someSettings(server, { commandTimeoutMs: COMMAND_TIMEOUT_MS }));
    });
    afterEach(async () => {
      await opened.close();
      await server.kill();
    });

    const refusal = (answer: Answer): Partial<StoreUnavailable> => {
      if (E.isRight(answer) || answer.left._tag !== 'StoreUnavailable') throw new Error('was not refused');
      const { outcome, reason } = answer.left;
      return { outcome, reason };
    };

    it('in time when Valkey is frozen: unknown for what was sent, not stored for what was waiting', async () => {
      await right(opened.store.append(orders, messages(1)));
      server.freeze();
      const began = performance.now();
      const sent = [orders, invoices, orders].map((stream) => opened.store.append(stream, messages(1, 2))());
      await new Promise((resolve) => setTimeout(resolve, COMMAND_TIMEOUT_MS / 2));
      const queued = [orders, invoices].map((stream) => opened.store.append(stream, messages(1, 3))());
      for (const answer of await Promise.all(sent)) {
        expect(refusal(answer)).to.deep.equal({ outcome: 'unknown', reason: 'timeout' });
      }
      for (const answer of await Promise.all(queued)) {
        expect(refusal(answer)).to.deep.equal({ outcome: 'not_stored', reason: 'disconnected' });
      }
      expect(performance.now() - began).to.be.below(COMMAND_TIMEOUT_MS + 300);

      const next = await opened.store.append(orders, messages(1, 4))();
      expect(refusal(next)).to.deep.equal({ outcome: 'not_stored', reason: 'disconnected' });
      expect(performance.now() - began).to.be.below(COMMAND_TIMEOUT_MS + 400);

      server.thaw();
      await eventually(() => right(opened.store.append(orders, messages(1, 5))));
      const stored = await right(opened.store.read(orders, NO_OFFSET, 100));
      const numbers = stored.map(({ event }) => payloadOf(event));
      // What was unknown may have been stored, once; what was not stored is not there.
      expect(numbers.filter((payload) => payload === '2').length).to.be.oneOf([0, 2]);
      expect(numbers).to.include.members(['1', '5']).and.not.include('3').and.not.include('4');
    });

    it('unknown for what was under way when Valkey was killed, and loses nothing that it called stored', async () => {
      const answers: Promise<readonly [string, Answer]>[] = [];
      const append = (i: number): void => {
        answers.push(
          opened.store
            .append(orders, messages(1, i))()
            .then((answer) => [String(i), answer] as const),
        );
      };
      for (let i = 0; i < 50; i++) append(i);
      await Promise.all(answers);
      server.freeze();
      for (let i = 50; i < 60; i++) append(i);
      await new Promise((resolve) => setTimeout(resolve, 20));
      await server.kill();
      const answered = await Promise.all(answers);
      for (const [, answer] of answered.slice(50)) {
        expect(refusal(answer)).to.deep.equal({ outcome: 'unknown', reason: 'disconnected' });
      }
      await server.restart();
      await eventually(() => right(opened.store.bounds(orders)));
      const stored = (await right(opened.store.read(orders, NO_OFFSET, 100))).map(({ event }) =>
        payloadOf(event),
      );
      expect(stored).to.deep.equal(
        answered.filter(([, answer]) => E.isRight(answer)).map(([payload]) => payload),
      );
    });

    it('not stored, at once, while there is no connection', async () => {
      await server.kill();
      await eventually(() => expect(opened.connection.commands.status).not.to.equal('ready'));
      const began = performance.now();
      const refused = await left(opened.store.append(orders, messages(1)));
      expect(refused).to.include({ outcome: 'not_stored', reason: 'disconnected' });
      expect(performance.now() - began).to.be.below(50);
    });

    it('overloaded to what would make the queue larger than it may be', async () => {
      await right(opened.store.append(orders, messages(1)));
      server.freeze();
      const message = aMessage({ payload: `"${'x'.repeat(1024 * 1024)}"` });
      const answers = Array.from({ length: 70 }, () => opened.store.append(orders, [message])());
      const refusals = (await Promise.all(answers)).map(refusal);
      expect(refusals.slice(0, 3)).to.deep.equal(
        Array.from({ length: 3 }, () => ({ outcome: 'unknown', reason: 'timeout' })),
      );
      expect(refusals.slice(-6)).to.deep.equal(
        Array.from({ length: 6 }, () => ({ outcome: 'not_stored', reason: 'overloaded' })),
      );
      server.thaw();
      await eventually(() => right(opened.store.append(invoices, messages(1))));
    });

    it('not stored, read only, where Valkey has fewer replicas than it must have', async () => {
      const admin = connectAsAdmin(server);
      await admin.config('SET', 'min-replicas-to-write', '1');
      const refused = await left(opened.store.append(orders, messages(1)));
      expect(refused).to.include({ outcome: 'not_stored', reason: 'read_only' });
      await admin.config('SET', 'min-replicas-to-write', '0');
      await right(opened.store.append(orders, messages(1)));
      admin.disconnect();
    });

    it('not stored, failed, where the key is something else, and the others of the pipeline are stored', async () => {
      const admin = connectAsAdmin(server);
      await admin.set(opened.names.key(orders), 'not a stream');
      const [spoiled, sound] = await Promise.all([
        left(opened.store.append(orders, messages(1))),
        right(opened.store.append(invoices, messages(1))),
      ]);
      expect(spoiled).to.include({ outcome: 'not_stored', reason: 'failed' });
      expect(sound).to.have.length(1);
      admin.disconnect();
    });
  });

  describe('waits for the disk where that is asked for', () => {
    const fsync = { durability: 'fsync' } as const;
    const UNKNOWN = { outcome: 'unknown', reason: 'timeout' };
    let server: ValkeyServer;
    let opened: OpenedValkey;
    let admin: Redis;

    const start = async (policy: 'always' | 'everysec' | 'no', commandTimeoutMs = 1_000): Promise<void> => {
      server = await startValkey(['--appendfsync', policy]);
      opened = await openValkey(someSettings(server, { commandTimeoutMs }));
      admin = connectAsAdmin(server);
    };
    afterEach(async () => {
      admin.disconnect();
      await opened.close();
      await server.kill();
    });

    const item = (key: string) => ({
      event: aMessage(),
      once: { key, fingerprint: 'f', windowMs: 60_000 },
    });
    const length = (stream = orders) => admin.xlen(opened.names.key(stream));

    it('once for a whole group, and not at all for what need not be synced', async () => {
      await start('always');
      await right(opened.store.append(orders, messages(1)));
      expect(await commandCalls(admin, 'waitaof')).to.equal(0);
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          i % 5 === 0
            ? right(opened.store.appendOnce(orders, [item(String(i))], fsync))
            : right(opened.store.append(i % 2 === 0 ? orders : invoices, messages(1), fsync)),
        ),
      );
      expect(answers).to.have.length(50);
      expect(await commandCalls(admin, 'waitaof')).to.equal(1);
      expect((await length()) + (await length(invoices))).to.equal(51);
    });

    it('as often as it takes, with a sync a second', async () => {
      await start('everysec', 2_000);
      const cursors = await Promise.all(
        Array.from({ length: 20 }, (_, i) => right(opened.store.append(orders, messages(1, i), fsync))),
      );
      const stored = await right(opened.store.read(orders, NO_OFFSET, 100));
      expect(cursors.flat()).to.deep.equal(stored.map(({ offset, n }) => ({ offset, n })));
    });

    it('and says unknown where it does not come in time, of what is stored all the same', async () => {
      await start('no');
      const [before] = await clientIds(admin, 'pulsar-proxy:durable');
      const answer = await opened.store.append(orders, messages(1), fsync)();
      expect(E.isLeft(answer) && answer.left).to.include(UNKNOWN);
      expect(await length()).to.equal(1);
      // Nothing was wrong with the connection.
      expect(await clientIds(admin, 'pulsar-proxy:durable')).to.deep.equal([before]);
    });

    it('for a duplicate as well: it may have been stored without being synced', async () => {
      await start('no');
      const [first] = await right(opened.store.appendOnce(orders, [item('a')]));
      const ttlMs = await admin.pttl(opened.names.idempotency('a'));
      expect(await left(opened.store.appendOnce(orders, [item('a')], fsync))).to.include(UNKNOWN);
      expect(await admin.pttl(opened.names.idempotency('a'))).to.be.within(1, ttlMs);
      await admin.config('SET', 'appendfsync', 'always');
      const again = await right(opened.store.appendOnce(orders, [item('a')], fsync));
      expect(again).to.deep.equal([{ ...first, _tag: 'Duplicate' }]);
      expect(await length()).to.equal(1);
    });

    it('but not where nothing was stored', async () => {
      await start('no');
      await right(opened.store.appendOnce(orders, [item('a')]));
      const other = { event: aMessage(), once: { key: 'a', fingerprint: 'other', windowMs: 60_000 } };
      expect(await right(opened.store.appendOnce(orders, [other], fsync))).to.deep.equal([
        { _tag: 'KeyReused' },
      ]);
      const refused = await left(opened.store.append(orders, messages(1), { ...fsync, expected: BEGINNING }));
      expect(refused).to.include({ _tag: 'VersionConflict' });
    });

    it('while everybody else does not', async () => {
      await start('no');
      const answered: string[] = [];
      const durable = left(opened.store.append(orders, messages(1), fsync)).then(() =>
        answered.push('fsync'),
      );
      await eventually(async () => expect(await length()).to.equal(1));
      await right(opened.store.append(orders, messages(1))).then(() => answered.push('stored'));
      await durable;
      expect(answered).to.deep.equal(['stored', 'fsync']);
    });

    it('together with those who wait already', async () => {
      await start('no', 5_000);
      const first = right(opened.store.append(orders, messages(1), fsync));
      await eventually(async () => expect(await length()).to.equal(1));
      const second = right(opened.store.append(orders, messages(1, 2), fsync));
      await eventually(async () => expect(await length()).to.equal(2));
      await admin.config('SET', 'appendfsync', 'everysec');
      expect((await Promise.all([first, second])).flat().map(({ n }) => n)).to.deep.equal([1, 2]);
    });

    it('and stores once what Valkey has to be told the script of again, before it is synced', async () => {
      await start('always');
      await right(opened.store.append(invoices, messages(1), fsync));
      await admin.script('FLUSH');
      const waits = await commandCalls(admin, 'waitaof');
      const answers = await Promise.all([
        right(opened.store.append(orders, messages(2), fsync)),
        right(opened.store.append(invoices, messages(1), fsync)),
      ]);
      expect(answers).to.have.length(2);
      expect(await length()).to.equal(2);
      expect((await commandCalls(admin, 'waitaof')) - waits).to.equal(2);
    });

    it('and is refused, unsent, where Valkey keeps no log', async () => {
      server = await startValkey(['--appendonly', 'no']);
      opened = await openValkey(someSettings(server, { allowUnsafe: true }));
      admin = connectAsAdmin(server);
      await eventually(() => expect(opened.connection.logsToDisk).to.equal(false));
      const refusals = [
        await left(opened.store.append(orders, messages(1), fsync)),
        await left(opened.store.appendOnce(orders, [item('a')], fsync)),
      ];
      for (const refused of refusals) {
        expect(refused).to.include({ outcome: 'not_stored', reason: 'not_durable' });
      }
      expect(await length()).to.equal(0);
      await right(opened.store.append(orders, messages(1)));
    });

    it('and says unknown where Valkey has stopped keeping a log since it was looked at', async () => {
      await start('always');
      await right(opened.store.append(orders, messages(1), fsync));
      await admin.config('SET', 'appendonly', 'no');
      expect(await left(opened.store.append(orders, messages(1), fsync))).to.include(UNKNOWN);
    });

    it('and never calls synced what was written before the connection broke', async () => {
      await start('no', 5_000);
      const first = left(opened.store.append(orders, messages(1), fsync));
      await eventually(async () => expect(await length()).to.equal(1));
      const second = left(opened.store.append(orders, messages(1, 2), fsync));
      const refusals = Promise.all([first, second]);
      await eventually(async () => expect(await length()).to.equal(2));
      const [id] = await clientIds(admin, 'pulsar-proxy:durable');
      await admin.client('KILL', 'ID', id!);
      await admin.config('SET', 'appendfsync', 'always');
      await eventually(() => right(opened.store.append(orders, messages(1, 3), fsync)));
      for (const refused of await refusals) expect(refused).to.include({ outcome: 'unknown' });
    });

    it('no longer than it may take, where Valkey freezes in the meantime', async () => {
      await start('no', 600);
      const written = left(opened.store.append(orders, messages(1), fsync));
      await eventually(async () => expect(await length()).to.equal(1));
      server.freeze();
      const waiting = left(opened.store.append(orders, messages(1, 2), fsync));
      for (const refused of await Promise.all([written, waiting])) {
        expect(refused).to.include({ _tag: 'StoreUnavailable' });
      }
      server.thaw();
      await admin.config('SET', 'appendfsync', 'always');
      await eventually(() => right(opened.store.append(orders, messages(1, 3), fsync)));
    });
  });

  describe('in a Valkey that is full', () => {
    it('refuses as full and stores nothing of it, goes on reading and trimming, and recovers by itself', async () => {
      const server = await startValkey();
      const opened = await openValkey(someSettings(server));
      const admin = connectAsAdmin(server);
      try {
        await right(opened.store.append(orders, messages(1)));
        await admin.config('SET', 'maxmemory', String((await infoNumber(admin, 'used_memory')) + 2_000_000));
        const payload = `"${'x'.repeat(10_000)}"`;
        let stored = 1;
        let refused: Answer | undefined;
        for (let i = 0; refused === undefined && i < 1000; i++) {
          // To a topic of its own each time, so that the catalogue is appended to as well.
          const bulk = Array.from({ length: 5 }, () => aMessage({ payload }));
          const answers = await Promise.all([
            opened.store.append(orders, bulk)(),
            opened.store.append(topicStream(aTopic(`t.${i}`)), bulk)(),
          ]);
          stored += E.isRight(answers[0]) ? 5 : 0;
          refused = answers.find(E.isLeft);
        }
        expect(refused)
          .to.have.property('left')
          .that.includes({ _tag: 'StoreUnavailable', outcome: 'not_stored', reason: 'full' });

        const streams = (await admin.keys(`${opened.names.key(topicStream(aTopic('t')))}*`)).length;
        const catalogue = await right(opened.store.read({ kind: 'catalogue' }, NO_OFFSET, 2000));
        expect(catalogue).to.have.length(1 + streams);
        const read = await right(opened.store.read(orders, NO_OFFSET, 5000));
        expect(read).to.have.length(stored);
        const { last } = await right(opened.store.bounds(orders));
        expect(last.n).to.equal(stored);

        await right(opened.store.trim(orders, last.offset));
        await eventually(() => right(opened.store.append(orders, messages(1))));
      } finally {
        admin.disconnect();
        await opened.close();
        await server.kill();
      }
    });
  });
});
