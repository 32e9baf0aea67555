import { expect } from 'chai';
import { topicStream } from '../../application/ports/event-store.js';
import type { MessageId } from '../../domain/message/message-id.js';
import { NO_OFFSET } from '../../domain/message/offset.js';
import type { MessagePublished } from '../../domain/topic/topic-events.js';
import { aTopic } from '../support/builders.js';
import { anInstance, Backend, idsOf, payloadsOf, type Instance } from '../support/instance.js';
import { aPrincipal } from '../support/principals.js';
import { settle } from '../support/settle.js';
import { left, right } from '../support/task-either.js';

const EARLIEST = { at: 'earliest' } as const;

describe('A message that is not acknowledged', () => {
  let backend: Backend;
  const publish = (...payloads: readonly string[]) => backend.publish('orders', ...payloads);

  beforeEach(() => {
    backend = new Backend();
  });

  const deadLetters = async (topic = 'dlq.orders'): Promise<readonly MessagePublished[]> => {
    const recorded = await right(backend.store.read(topicStream(aTopic(topic)), NO_OFFSET, 100));
    return recorded.map(({ event }) => event as MessagePublished);
  };

  describe('because its client has given it back', () => {
    for (const [kind, give] of [
      [
        'over its connection',
        async (instance: Instance, ids: readonly MessageId[], delayMs: number | undefined) => {
          const session = instance.sessions.find({ principal: aPrincipal().id, clientId: 'phone' as never });
          await right(session!.settle({ type: 'Reject', ids, delayMs }));
        },
      ],
      [
        'by a request to another instance',
        async (instance: Instance, ids: readonly MessageId[], delayMs: number | undefined) => {
          await backend.pass(1_500);
          const answer = await right(anInstance(instance.backend).settle({ type: 'Reject', ids, delayMs }));
          expect(answer.count).to.equal(ids.length);
          await settle();
        },
      ],
    ] as const) {
      describe(kind, () => {
        it('comes again at once, as the next attempt', async () => {
          const instance = anInstance(backend);
          const { connection } = await instance.subscribe();
          const ids = await publish('a', 'b');
          await give(instance, [ids[0]!], 0);
          await backend.pass(300);
          expect(connection.deliveries.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
            ['a', 1],
            ['b', 1],
            ['a', 2],
          ]);
        });

        it('waits for as long as the client has said, and what is behind it does not', async () => {
          const instance = anInstance(backend);
          const { connection } = await instance.subscribe();
          const ids = await publish('a');
          await give(instance, ids, 5_000);
          await publish('b');
          await backend.pass(4_500);
          expect(connection.payloads).to.deep.equal(['a', 'b']);
          await backend.pass(1_000);
          expect(connection.payloads).to.deep.equal(['a', 'b', 'a']);
        });

        it('waits for the backoff where the client has not said', async () => {
          const instance = anInstance(backend, { settings: { backoffMs: [2_000, 8_000] } });
          const { connection } = await instance.subscribe();
          const ids = await publish('a');
          await give(instance, ids, undefined);
          await backend.pass(1_500);
          expect(connection.payloads).to.deep.equal(['a']);
          await backend.pass(800);
          expect(connection.payloads).to.deep.equal(['a', 'a']);
          await give(instance, ids, undefined);
          await backend.pass(7_500);
          expect(connection.payloads).to.deep.equal(['a', 'a']);
          await backend.pass(1_000);
          expect(connection.payloads).to.deep.equal(['a', 'a', 'a']);
        });
      });
    }

    it('comes with the poll that is waiting for it, on whichever instance', async () => {
      await publish('a');
      const [one, other] = [anInstance(backend), anInstance(backend)];
      const ids = idsOf(await one.poll({ start: EARLIEST }));
      const waiting = other.poll({ timeoutMs: 10_000 });
      await settle();
      await right(one.settle({ type: 'Reject', ids, delayMs: 0 }));
      await settle();
      const answer = await waiting;
      expect(answer.messages.map(({ attempt }) => attempt)).to.deep.equal([2]);
    });

    it('is answered as what it is: settled before, never delivered, trimmed', async () => {
      const instance = anInstance(backend);
      const { session } = await instance.subscribe();
      const [a, b] = await publish('a', 'b');
      session.acknowledge([a!]);
      const ahead = { topic: aTopic('orders'), offset: (b!.offset + 1) as never };
      const never = { topic: aTopic('orders'), offset: (a!.offset - 1) as never };
      await right(backend.store.trim(topicStream(aTopic('orders')), a!.offset));
      expect(
        await right(session.settle({ type: 'Reject', ids: [a!, b!, ahead, never], delayMs: 0 })),
      ).to.deep.equal({ count: 1, alreadySettled: [a], trimmed: [never], unknown: [ahead] });
    });
  });

  describe('because its client is still working on it', () => {
    it('does not come again before the time that it has asked for', async () => {
      const instance = anInstance(backend, { settings: { ackTimeoutMs: 1_000 } });
      const { session, connection } = await instance.subscribe();
      const ids = await publish('a', 'b');
      for (let i = 0; i < 3; i++) {
        await backend.pass(800);
        expect((await right(session.settle({ type: 'Extend', ids: [ids[0]!] }))).count).to.equal(1);
      }
      expect(connection.payloads.filter((payload) => payload === 'a')).to.have.length(1);
      await backend.pass(1_500);
      expect(connection.payloads.filter((payload) => payload === 'a')).to.have.length(2);
    });

    it('does not come with the next poll, and is still its own when acknowledged', async () => {
      await publish('a');
      const [one, other] = [anInstance(backend), anInstance(backend)];
      const ids = idsOf(await one.poll({ start: EARLIEST, ackTimeoutMs: 1_000 }));
      await backend.pass(900);
      expect((await right(other.settle({ type: 'Extend', ids }))).count).to.equal(1);
      await backend.pass(900);
      expect(payloadsOf(await one.poll())).to.deep.equal([]);
      expect((await right(other.acknowledge(ids))).count).to.equal(1);
      await backend.pass(5_000);
      expect(payloadsOf(await one.poll())).to.deep.equal([]);
    });
  });

  describe('that was delivered as often as it may be', () => {
    const settings = { ackTimeoutMs: 1_000, maxDeliveries: 2 };

    it('goes to the dead-letter topic with where it comes from, and not to its client', async () => {
      const instance = anInstance(backend, { settings });
      const { connection } = await instance.subscribe();
      await backend.publish('orders', {
        type: 'MessagePublished',
        payload: '"poison"',
        key: 'k',
        headers: { traceparent: '00-1' },
      });
      await publish('good');
      const good = connection.deliveries.find(({ payload }) => payload === 'good')!;
      instance.sessions.find({ principal: aPrincipal().id, clientId: 'phone' as never })!.acknowledge([good]);
      await backend.pass(4_000);
      expect(connection.deliveries.map(({ payload, attempt }) => [payload, attempt])).to.deep.equal([
        ['"poison"', 1],
        ['good', 1],
        ['"poison"', 2],
      ]);
      const [letter, ...others] = await deadLetters();
      expect(others).to.deep.equal([]);
      expect(letter).to.deep.include({ payload: '"poison"', key: 'k' });
      expect(letter?.headers).to.deep.include({
        traceparent: '00-1',
        'dead-letter-reason': 'max_deliveries',
        'dead-letter-attempts': '2',
        'dead-letter-topic': 'orders',
        'dead-letter-principal': aPrincipal().id,
        'dead-letter-client-id': 'phone',
      });
      expect(instance.metrics.deadLettered.max_deliveries).to.equal(1);
      const recorded = await instance.recorded();
      expect(recorded.positions.get(aTopic('orders'))?.due).to.deep.equal([]);
    });

    it('goes there from a poll as well, and the poll goes on with what is behind it', async () => {
      const instance = anInstance(backend, { settings });
      await publish('poison');
      for (const attempt of [1, 2]) {
        const { messages } = await instance.poll({ start: EARLIEST });
        expect(messages.map((message) => message.attempt)).to.deep.equal([attempt]);
        await backend.pass(1_500);
      }
      await publish('good');
      expect(payloadsOf(await instance.poll())).to.deep.equal(['good']);
      expect((await deadLetters()).map(({ payload }) => payload)).to.deep.equal(['poison']);
    });

    for (const [kind, receive] of [
      ['a connection', async (instance: Instance) => (await instance.subscribe()).connection],
      ['a poll', () => Promise.resolve(undefined)],
    ] as const) {
      it(`stalls nothing on ${kind} while the dead-letter topic cannot be written`, async () => {
        const instance = anInstance(backend, { settings });
        const connection = await receive(instance);
        if (connection === undefined) await instance.poll();
        instance.store.fault = ({ operation, stream }) =>
          operation === 'appendOnce' && stream.kind === 'topic' ? 'not_stored' : undefined;
        await publish('poison');
        const came: string[] = [];
        for (let i = 0; i < 3; i++) {
          if (connection === undefined) came.push(...payloadsOf(await instance.poll()));
          await backend.pass(1_300);
        }
        await publish('good');
        if (connection === undefined) came.push(...payloadsOf(await instance.poll()));
        expect(connection?.payloads ?? came).to.deep.equal(['poison', 'poison', 'good']);
        expect(await deadLetters()).to.deep.equal([]);
        instance.store.fault = () => undefined;
        await backend.pass(1_500);
        if (connection === undefined) await instance.poll();
        expect((await deadLetters()).map(({ payload }) => payload)).to.deep.equal(['poison']);
      });
    }

    it('is dropped and counted where there is no dead-letter topic', async () => {
      const instance = anInstance(backend, { settings, deadLetterTopic: '' });
      const { connection } = await instance.subscribe();
      await publish('poison');
      await backend.pass(5_000);
      expect(connection.payloads).to.deep.equal(['poison', 'poison']);
      expect(instance.metrics.deadLettered.max_deliveries).to.equal(1);
      expect(await deadLetters()).to.deep.equal([]);
    });

    it('is not given up in a dead-letter topic', async () => {
      const instance = anInstance(backend, { settings });
      const { connection } = await instance.subscribe({ topics: ['dlq.orders'] });
      await backend.publish('dlq.orders', 'letter');
      await backend.pass(5_000);
      expect(connection.payloads.length).to.be.greaterThan(2);
    });
  });

  describe('because its client has given it up', () => {
    it('goes to the dead-letter topic at once, from a connection and from a poll', async () => {
      const instance = anInstance(backend);
      const { session } = await instance.subscribe();
      const ids = await publish('a');
      expect((await right(session.settle({ type: 'Terminate', ids }))).count).to.equal(1);
      await instance.poll({ clientId: 'tv', start: EARLIEST });
      const answer = await right(instance.settle({ type: 'Terminate', ids }, { clientId: 'tv' }));
      expect(answer.count).to.equal(1);
      const letters = await deadLetters();
      expect(letters.map(({ headers }) => headers?.['dead-letter-client-id'])).to.deep.equal(['phone', 'tv']);
      expect(letters.map(({ headers }) => headers?.['dead-letter-reason'])).to.deep.equal([
        'terminated',
        'terminated',
      ]);
      await backend.pass(60_000);
      expect((await instance.recorded()).positions.get(aTopic('orders'))?.due).to.deep.equal([]);
      expect((await instance.poll({ clientId: 'tv' })).messages).to.deep.equal([]);
    });

    it('goes there once, however often it is given up', async () => {
      const instance = anInstance(backend);
      await publish('a');
      const ids = idsOf(await instance.poll({ start: EARLIEST }));
      instance.store.failOnce(
        'lost',
        ({ operation, stream }) => operation === 'append' && stream.kind === 'subscription',
      );
      expect(await left(instance.settle({ type: 'Terminate', ids }))).to.include({ outcome: 'unknown' });
      expect((await right(instance.settle({ type: 'Terminate', ids }))).count).to.equal(1);
      expect(await deadLetters()).to.have.length(1);
    });
  });

  describe('up to which everything is acknowledged', () => {
    it('settles what came before it in its topic, and nothing behind it', async () => {
      const instance = anInstance(backend);
      const { session } = await instance.subscribe({ topics: ['orders', 'other'], ackTimeoutMs: 1_000 });
      const ids = await publish('a', 'b', 'c');
      await backend.publish('other', 'x');
      expect((await right(session.settle({ type: 'AcknowledgeUpTo', id: ids[1]! }))).count).to.equal(2);
      expect(session.inFlight.messages).to.equal(2);
      const again = await right(session.settle({ type: 'AcknowledgeUpTo', id: ids[1]! }));
      expect(again).to.deep.include({ count: 0, alreadySettled: [ids[1]] });
    });

    it('does so for polls, and refuses what was not delivered yet', async () => {
      const instance = anInstance(backend);
      const ids = await publish('a', 'b', 'c');
      await instance.poll({ start: EARLIEST, max: 2, ackTimeoutMs: 1_000 });
      const upTo = (id: MessageId) => right(instance.settle({ type: 'AcknowledgeUpTo', id }));
      expect(await upTo(ids[2]!)).to.deep.include({ count: 0, unknown: [ids[2]] });
      expect((await upTo(ids[1]!)).count).to.equal(2);
      await backend.pass(2_000);
      expect(payloadsOf(await instance.poll())).to.deep.equal(['c']);
    });
  });
});
