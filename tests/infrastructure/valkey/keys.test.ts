import { expect } from 'chai';
import fc from 'fast-check';
import { CATALOGUE, subscriptionStream, topicStream } from '../../../application/ports/event-store.js';
import { keyNames } from '../../../infrastructure/valkey/keys.js';
import { anIdentity, aTopic } from '../../support/builders.js';

const plain = keyNames({ keyPrefix: '', db: 0 });

describe('keys', () => {
  it('are what users are told: topic:<name>', () => {
    expect(plain.key(topicStream(aTopic('notifications')))).to.equal('topic:notifications');
    expect(plain.key(topicStream(aTopic('orders.eu.created')))).to.equal('topic:orders.eu.created');
  });

  it('name the journal of a subscription by principal and client_id, and the catalogue', () => {
    expect(plain.key(subscriptionStream(anIdentity()))).to.equal('subscription:jwt%3Aalice/phone');
    expect(plain.key(CATALOGUE)).to.equal('topics');
  });

  it('name what was stored under an idempotency key by that key, and keep any two of them apart', () => {
    const named = keyNames({ keyPrefix: 'shop:', db: 0 });
    expect(named.idempotency('publish:0a1b')).to.equal('shop:idempotency:publish:0a1b');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(plain.idempotency(a) === plain.idempotency(b)).to.equal(a === b);
      }),
    );
    expect(plain.idempotency('a%3Ab')).not.to.equal(plain.idempotency('a:b'));
    expect(plain.idempotency('?[a]{b}\\ \n\u0000\ud800'))
      .to.match(/^[!-~]+$/)
      .and.not.match(/[?[\]{}\\]/);
  });

  it('begin with the prefix, and so do channels, which end with the database', () => {
    const names = keyNames({ keyPrefix: 'shop:', db: 7 });
    expect(names.key(topicStream(aTopic('a')))).to.equal('shop:topic:a');
    expect(names.channel(topicStream(aTopic('a')))).to.equal('shop:topic:a@7');
    expect(names.channel(CATALOGUE)).to.equal('shop:topics@7');
  });

  it('differ for any two identities, whatever principals are called', () => {
    const anyPrincipal = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('a/b', 'a%2Fb', 'a', '{a}', 'a b', '*', 'jwt:a', 'jwt:a/phone'),
    );
    const anyIdentity = fc
      .tuple(anyPrincipal, fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/))
      .map(([principal, clientId]) => anIdentity({ principal, clientId }));
    fc.assert(
      fc.property(anyIdentity, anyIdentity, (a, b) => {
        const isSame = a.principal === b.principal && a.clientId === b.clientId;
        expect(plain.key(subscriptionStream(a)) === plain.key(subscriptionStream(b))).to.equal(isSame);
      }),
    );
  });

  it('have nothing in them that Valkey could take for a pattern or a hash tag', () => {
    const principal = '*?[a]{b}\\ \n\u0000';
    expect(plain.key(subscriptionStream(anIdentity({ principal }))))
      .to.match(/^[!-~]+$/)
      .and.not.match(/[?[\]{}\\]/);
  });

  it('exist for a principal that is not valid Unicode', () => {
    expect(plain.key(subscriptionStream(anIdentity({ principal: 'jwt:\ud800' })))).to.be.a('string');
  });
});
