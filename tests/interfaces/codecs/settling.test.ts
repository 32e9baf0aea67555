/** The words for settling messages, as frames and as HTTP bodies: what is understood, and what is named as wrong. */
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import type { Settled, Settling } from '../../../application/settling.js';
import { parseMessageId, type MessageId } from '../../../domain/message/message-id.js';
import { decodeClientFrame } from '../../../interfaces/codecs/client-frame.js';
import { decodeSettleBody } from '../../../interfaces/codecs/http-requests.js';
import { settledFrame } from '../../../interfaces/codecs/server-frame.js';
import { settledMembers, type SettlingVerb } from '../../../interfaces/codecs/settling.js';
import type { Problem } from '../../../interfaces/problem.js';

const A = 'orders:1735689600000-1';
const B = 'orders:1735689600000-2';

const idOf = (text: string): MessageId => {
  const parsed = parseMessageId(text);
  if (E.isLeft(parsed)) throw new Error(`no id: ${text}`);
  return parsed.right;
};
const [a, b] = [idOf(A), idOf(B)];

const frame = (fields: Readonly<Record<string, unknown>>): E.Either<Problem, unknown> =>
  decodeClientFrame(JSON.stringify(fields)).frame;

const settles = (settling: Settling): E.Either<Problem, unknown> => E.right({ type: 'settle', settling });

const fieldOf = (decoded: E.Either<Problem, unknown>): string | undefined => {
  if (E.isRight(decoded)) throw new Error(`it was accepted: ${JSON.stringify(decoded.right)}`);
  expect(decoded.left.code).to.equal('invalid_request');
  return decoded.left.field;
};

const VERBS: readonly SettlingVerb[] = ['ack', 'nack', 'extend', 'terminate'];

describe('frames that settle messages', () => {
  it('are understood with one id, with several, and with the last of many', () => {
    expect(frame({ type: 'ack', message_id: A })).to.deep.equal(settles({ type: 'Acknowledge', ids: [a] }));
    expect(frame({ type: 'ack', message_ids: [A, B] })).to.deep.equal(
      settles({ type: 'Acknowledge', ids: [a, b] }),
    );
    expect(frame({ type: 'ack', up_to: B })).to.deep.equal(settles({ type: 'AcknowledgeUpTo', id: b }));
    expect(frame({ type: 'extend', message_id: A })).to.deep.equal(settles({ type: 'Extend', ids: [a] }));
    expect(frame({ type: 'extend', message_ids: [A, B] })).to.deep.equal(
      settles({ type: 'Extend', ids: [a, b] }),
    );
    expect(frame({ type: 'terminate', message_ids: [B] })).to.deep.equal(
      settles({ type: 'Terminate', ids: [b] }),
    );
  });

  it('of type nack say how long to wait, in seconds, or leave it to the configuration', () => {
    const rejected = (delayMs: number | undefined): E.Either<Problem, unknown> =>
      settles({ type: 'Reject', ids: [a], delayMs });
    expect(frame({ type: 'nack', message_id: A })).to.deep.equal(rejected(undefined));
    expect(frame({ type: 'nack', message_id: A, delay: 0 })).to.deep.equal(rejected(0));
    expect(frame({ type: 'nack', message_id: A, delay: 0.25 })).to.deep.equal(rejected(250));
    expect(frame({ type: 'nack', message_ids: [A], delay: 86_400 })).to.deep.equal(rejected(86_400_000));
  });

  it('of type nack are refused with a delay that is none', () => {
    for (const delay of [-1, 86_401, '5', null, true, [1]])
      expect(fieldOf(frame({ type: 'nack', message_id: A, delay })), String(delay)).to.equal('delay');
  });

  it('are refused without any id, and with more than one field for ids', () => {
    for (const type of VERBS) {
      expect(fieldOf(frame({ type })), type).to.equal('message_id');
      expect(fieldOf(frame({ type, message_id: A, message_ids: [B] })), type).to.equal('message_ids');
    }
    expect(fieldOf(frame({ type: 'ack', message_id: A, up_to: B }))).to.equal('up_to');
    expect(fieldOf(frame({ type: 'ack', message_ids: [A], up_to: B }))).to.equal('up_to');
  });

  it('are refused with an id that is none', () => {
    for (const type of VERBS) {
      for (const bad of ['', 'x', 'orders:1', 'a b:1-0', 7, null, [A]]) {
        expect(fieldOf(frame({ type, message_id: bad })), type).to.equal('message_id');
        expect(fieldOf(frame({ type, message_ids: [A, bad] })), type).to.equal('message_ids[1]');
      }
    }
    expect(fieldOf(frame({ type: 'ack', up_to: 'x' }))).to.equal('up_to');
  });

  it('know up_to for acknowledging only: elsewhere it means nothing', () => {
    for (const type of ['nack', 'extend', 'terminate']) {
      expect(fieldOf(frame({ type, up_to: A })), type).to.equal('message_id');
      expect(E.isRight(frame({ type, message_id: A, up_to: 7 })), type).to.equal(true);
    }
  });
});

describe('bodies that settle messages', () => {
  it('have a list, or the last of many for an acknowledgement, and the client_id that they are for', () => {
    expect(decodeSettleBody('ack', { message_ids: [A, B] })).to.deep.equal(
      E.right({ settling: { type: 'Acknowledge', ids: [a, b] }, clientId: 'default' }),
    );
    expect(decodeSettleBody('ack', { up_to: A, client_id: 'phone' })).to.deep.equal(
      E.right({ settling: { type: 'AcknowledgeUpTo', id: a }, clientId: 'phone' }),
    );
    expect(decodeSettleBody('nack', { message_ids: [A], delay: 1.5 })).to.deep.equal(
      E.right({ settling: { type: 'Reject', ids: [a], delayMs: 1500 }, clientId: 'default' }),
    );
    expect(decodeSettleBody('extend', { message_ids: [A] })).to.deep.equal(
      E.right({ settling: { type: 'Extend', ids: [a] }, clientId: 'default' }),
    );
    expect(decodeSettleBody('terminate', { message_ids: [A] })).to.deep.equal(
      E.right({ settling: { type: 'Terminate', ids: [a] }, clientId: 'default' }),
    );
  });

  it('are refused without a list, with two fields for ids, and with a client_id that is none', () => {
    for (const verb of VERBS) {
      expect(fieldOf(decodeSettleBody(verb, {})), verb).to.equal('message_ids');
      expect(fieldOf(decodeSettleBody(verb, { message_id: A })), verb).to.equal('message_ids');
      expect(fieldOf(decodeSettleBody(verb, { message_ids: [A], client_id: 'a b' }))).to.equal('client_id');
      expect(fieldOf(decodeSettleBody(verb, [A])), verb).to.equal('body');
    }
    expect(fieldOf(decodeSettleBody('ack', { message_ids: [A], up_to: B }))).to.equal('up_to');
    expect(fieldOf(decodeSettleBody('nack', { message_ids: [A], delay: -1 }))).to.equal('delay');
  });
});

describe('what is answered to them', () => {
  const settled: Settled = { count: 3, alreadySettled: [a], trimmed: [b], unknown: [a, b] };
  const lists = { already_acknowledged: [A], trimmed: [B], unknown: [A, B] };

  it('counts as acknowledged what was so before, and as anything else only what took effect now', () => {
    expect(settledMembers({ type: 'Acknowledge', ids: [] }, settled)).to.deep.equal({
      acknowledged: 4,
      ...lists,
    });
    expect(settledMembers({ type: 'AcknowledgeUpTo', id: a }, settled)).to.deep.equal({
      acknowledged: 4,
      ...lists,
    });
    const reject: Settling = { type: 'Reject', ids: [], delayMs: undefined };
    expect(settledMembers(reject, settled)).to.deep.equal({ nacked: 3, ...lists });
    expect(settledMembers({ type: 'Extend', ids: [] }, settled)).to.deep.equal({ extended: 3, ...lists });
    expect(settledMembers({ type: 'Terminate', ids: [] }, settled)).to.deep.equal({
      terminated: 3,
      ...lists,
    });
  });

  it('names the type of the reply, and the id of the frame', () => {
    const replyTo = (settling: Settling): unknown => JSON.parse(settledFrame('f', settling, settled));
    expect(replyTo({ type: 'Acknowledge', ids: [] })).to.include({ type: 'acked', id: 'f' });
    expect(replyTo({ type: 'AcknowledgeUpTo', id: a })).to.include({ type: 'acked', acknowledged: 4 });
    expect(replyTo({ type: 'Reject', ids: [], delayMs: 0 })).to.include({ type: 'nacked', nacked: 3 });
    expect(replyTo({ type: 'Extend', ids: [] })).to.include({ type: 'extended', extended: 3 });
    expect(replyTo({ type: 'Terminate', ids: [] })).to.include({ type: 'terminated', terminated: 3 });
  });
});
