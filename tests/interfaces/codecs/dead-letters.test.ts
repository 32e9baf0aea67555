import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { decodeDeadLetterQuery, decodeRedrive } from '../../../interfaces/codecs/dead-letters.js';
import type { Problem } from '../../../interfaces/problem.js';

const fieldOf = (decoded: E.Either<Problem, unknown>): string | undefined => {
  if (E.isRight(decoded)) throw new Error(`it was accepted: ${JSON.stringify(decoded.right)}`);
  expect(decoded.left.code).to.equal('invalid_request');
  return decoded.left.field;
};

describe('requests for dead letters', () => {
  const asked = (query: string, topic = 'orders.eu'): E.Either<Problem, unknown> =>
    decodeDeadLetterQuery(topic, new URLSearchParams(query));

  it('begin with the oldest and ask for a hundred, unless they say otherwise', () => {
    const whole = E.right({ topic: 'orders.eu', after: 0, limit: 100 });
    for (const query of ['', 'from=&limit=', 'other=1']) expect(asked(query), query).to.deep.equal(whole);
    expect(asked('from=1735689600000-5&limit=1000')).to.deep.equal(
      E.right({ topic: 'orders.eu', after: 1_735_689_600_000 * 1024 + 5, limit: 1000 }),
    );
  });

  it('are refused where the topic, the offset or the limit is none', () => {
    for (const topic of ['', 'a b', 'orders.*', '>', '$sys', 'a/b'])
      expect(fieldOf(asked('', topic)), topic).to.equal('topic');
    for (const from of ['x', '5', '1-1024', 'earliest', '2025-01-01T00:00:00Z'])
      expect(fieldOf(asked(`from=${from}`)), from).to.equal('from');
    for (const limit of ['0', '1001', '1.5', '-1', 'all'])
      expect(fieldOf(asked(`limit=${limit}`)), limit).to.equal('limit');
  });
});

describe('requests to send dead letters back', () => {
  it('name them, or say how many of the oldest', () => {
    const decoded = decodeRedrive({ message_ids: ['dlq.orders:1735689600000-0'] });
    expect(decoded).to.deep.equal(
      E.right({ ids: [{ topic: 'dlq.orders', offset: 1_735_689_600_000 * 1024 }] }),
    );
    expect(decodeRedrive({ limit: 5 })).to.deep.equal(E.right({ oldest: 5 }));
  });

  it('are refused where they say neither or both: nothing means all of them', () => {
    expect(fieldOf(decodeRedrive({}))).to.equal('message_ids');
    expect(fieldOf(decodeRedrive({ message_ids: [] }))).to.equal('message_ids');
    expect(fieldOf(decodeRedrive({ message_ids: ['x'] }))).to.equal('message_ids[0]');
    expect(fieldOf(decodeRedrive({ message_ids: ['a:1-0'], limit: 1 }))).to.equal('limit');
    for (const limit of [0, 1001, 1.5, '1', null])
      expect(fieldOf(decodeRedrive({ limit }))).to.equal('limit');
  });
});
