import { expect } from 'chai';
import fc from 'fast-check';
import { either as E } from 'fp-ts';
import { topic, type Publication, type TopicCommand } from '../../domain/topic/topic.js';
import { aMessage } from '../support/builders.js';
import { given } from '../support/decider-spec.js';
import { TEST_START } from '../support/manual-clock.js';

const publish = (...publications: readonly Publication[]): TopicCommand => ({
  type: 'PublishMessages',
  publications,
  limits: { payloadBytesMax: 20 },
  now: TEST_START,
});

const publishOne = (publication: Partial<Publication>): TopicCommand =>
  publish({ payload: '1', ...publication });

describe('A topic', () => {
  it('publishes a message with its payload as it came', () => {
    given(topic)
      .when(publishOne({ payload: '{ "a": 1 }' }))
      .then(aMessage({ payload: '{ "a": 1 }' }));
  });

  it('keeps everything else that the producer gave', () => {
    const given_ = { key: 'k', priority: 0, headers: { traceparent: '00-a-b-01' } };
    given(topic)
      .when(publishOne(given_))
      .then(aMessage({ payload: '1', ...given_ }));
  });

  it('publishes many in their order', () => {
    given(topic)
      .when(publish({ payload: '1' }, { payload: '2' }))
      .then(aMessage({ payload: '1' }), aMessage({ payload: '2' }));
  });

  it('has nothing to say to nothing', () => {
    given(topic).when(publish()).thenNothing();
  });

  it('decides the same whatever was published before', () => {
    given(topic, [aMessage(), aMessage()])
      .when(publishOne({}))
      .then(aMessage({ payload: '1' }));
  });

  it('counts what was published', () => {
    expect([aMessage(), aMessage()].reduce(topic.evolve, topic.initialState)).to.deep.equal({ published: 2 });
  });

  it('lets a message expire its ttl after now, a fraction of a millisecond rounded up', () => {
    given(topic)
      .when(publishOne({ ttlSeconds: 60 }))
      .then(aMessage({ payload: '1', expiresAt: TEST_START + 60_000 }));
    given(topic)
      .when(publishOne({ ttlSeconds: 0.0001 }))
      .then(aMessage({ payload: '1', expiresAt: TEST_START + 1 }));
  });

  it('publishes none of many where one is refused', () => {
    given(topic)
      .when(publish({ payload: '1' }, { payload: '2', priority: 10 }))
      .thenRefused('InvalidPublication', { field: 'priority' });
  });

  it('refuses a payload above the limit, counted in bytes of UTF-8', () => {
    given(topic)
      .when(publishOne({ payload: `"${'é'.repeat(9)}"` }))
      .then(aMessage({ payload: `"${'é'.repeat(9)}"` }));
    given(topic)
      .when(publishOne({ payload: `"${'é'.repeat(9)}x"` }))
      .thenRefused('PayloadTooLarge', { payloadBytesMax: 20 });
  });

  it('counts bytes as UTF-8 does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), fc.nat(200), (payload, payloadBytesMax) => {
        const command = { ...publishOne({ payload }), limits: { payloadBytesMax } };
        const isRefused = E.isLeft(topic.decide(topic.initialState, command));
        expect(isRefused).to.equal(Buffer.byteLength(payload) > payloadBytesMax);
      }),
      { numRuns: 500 },
    );
  });

  for (const ttlSeconds of [0, -1, NaN, Infinity, 315_360_001]) {
    it(`refuses a ttl of ${ttlSeconds} seconds`, () => {
      given(topic).when(publishOne({ ttlSeconds })).thenRefused('InvalidPublication', { field: 'ttl' });
    });
  }

  for (const priority of [-1, 10, 0.5, NaN]) {
    it(`refuses a priority of ${priority}`, () => {
      given(topic).when(publishOne({ priority })).thenRefused('InvalidPublication', { field: 'priority' });
    });
  }

  it('refuses a key that is empty or too long', () => {
    given(topic)
      .when(publishOne({ key: '' }))
      .thenRefused('InvalidPublication', { field: 'key' });
    given(topic)
      .when(publishOne({ key: 'x'.repeat(257) }))
      .thenRefused('InvalidPublication', { field: 'key' });
    given(topic)
      .when(publishOne({ key: 'x'.repeat(256) }))
      .then(aMessage({ payload: '1', key: 'x'.repeat(256) }));
  });

  it('refuses headers that are too many, too large or not named like headers', () => {
    const many = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`h${i}`, '']));
    for (const headers of [
      many,
      { h: 'x'.repeat(8192) },
      { '': 'x' },
      { 'a b': 'x' },
      { 'a:': 'x' },
      { é: 'x' },
    ]) {
      given(topic).when(publishOne({ headers })).thenRefused('InvalidPublication', { field: 'headers' });
    }
  });
});
