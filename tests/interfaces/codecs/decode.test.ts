import { expect } from 'chai';
import { either as E } from 'fp-ts';
import * as t from 'io-ts';
import { decode } from '../../../interfaces/codecs/decode.js';
import {
  ClientIdField,
  GuaranteeField,
  integerField,
  listField,
  optional,
  secondsField,
  TopicNameField,
} from '../../../interfaces/codecs/fields.js';

const Message = t.intersection([
  t.type({ topic: TopicNameField }),
  t.partial({ ttl: t.number, flag: t.boolean, headers: t.record(t.string, t.string) }),
]);
const Request = t.type({
  messages: listField(Message, 3),
  client_id: optional(ClientIdField),
  delivery: optional(GuaranteeField),
  max: optional(integerField(1, 10)),
  wait: optional(secondsField(60)),
});

/** Field and detail of the problem that comes of decoding. */
const problemOf = (input: unknown): readonly [string | undefined, string] => {
  const decoded = decode(Request, input);
  if (E.isRight(decoded)) throw new Error('it was accepted');
  expect(decoded.left.code).to.equal('invalid_request');
  return [decoded.left.field, decoded.left.detail];
};

const messages = [{ topic: 'a' }];

describe('what decoding says about a wrong field', () => {
  it('accepts what is right', () => {
    const whole = {
      messages: [{ topic: 'a', ttl: 1, flag: true, headers: { x: 'y' } }],
      client_id: 'phone',
      delivery: 'at_most_once',
      max: 10,
      wait: 0.5,
    };
    expect(decode(Request, whole)).to.deep.equal(E.right(whole));
    expect(E.isRight(decode(Request, { messages }))).to.equal(true);
  });

  it('names the body itself where that is no object', () => {
    for (const input of [null, undefined, 7, 'text', []]) expect(problemOf(input)[0]).to.equal('body');
    expect(problemOf([])[1]).to.equal('body: must be an object');
  });

  it('says that a field is required', () => {
    expect(problemOf({})).to.deep.equal(['messages', 'messages: is required']);
  });

  it('says what a field must be', () => {
    expect(problemOf({ messages: 'x' })).to.deep.equal(['messages', 'messages: must be a list']);
    expect(problemOf({ messages: [] })[1]).to.equal('messages: must have 1 to 3 elements');
    expect(problemOf({ messages, max: 11 })[1]).to.equal('max: must be a whole number from 1 to 10');
    expect(problemOf({ messages, wait: 0 })[1]).to.equal('wait: must be more than 0 and at most 60 seconds');
    expect(problemOf({ messages, delivery: 'x' })[1]).to.equal(
      'delivery: must be at_least_once or at_most_once',
    );
    expect(problemOf({ messages, client_id: 7 })[1]).to.equal('client_id: must be a string');
  });

  it('does not take null for absent', () => {
    for (const field of ['client_id', 'delivery', 'max', 'wait']) {
      expect(problemOf({ messages, [field]: null })[0]).to.equal(field);
    }
  });

  it('names the place inside of lists and objects', () => {
    expect(problemOf({ messages: [{ topic: 'a' }, {}] })).to.deep.equal([
      'messages[1].topic',
      'messages[1].topic: must be a string',
    ]);
    expect(problemOf({ messages: [{ topic: 'a' }, 7] })).to.deep.equal([
      'messages[1]',
      'messages[1]: must be an object',
    ]);
    expect(problemOf({ messages: [{ topic: 'a', ttl: '1' }] })[1]).to.equal(
      'messages[0].ttl: must be a number',
    );
    expect(problemOf({ messages: [{ topic: 'a', flag: 1 }] })[1]).to.equal(
      'messages[0].flag: must be true or false',
    );
    expect(problemOf({ messages: [{ topic: 'a', headers: { x: 1 } }] })[0]).to.equal('messages[0].headers.x');
  });

  it('names one field where several are wrong', () => {
    expect(problemOf({ messages, max: 0, wait: 0 })[0]).to.be.oneOf(['max', 'wait']);
  });

  it('finds no guarantee in what every object has', () => {
    for (const delivery of ['constructor', '__proto__', 'toString', 'valueOf']) {
      expect(problemOf({ messages, delivery })[0]).to.equal('delivery');
    }
  });
});
