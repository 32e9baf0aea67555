import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { mayPublish, mayReceive, maySubscribe } from '../../application/authorise.js';
import { aPattern, aTopic } from '../support/builders.js';
import { aPrincipal } from '../support/principals.js';

describe('Authorising', () => {
  const principal = aPrincipal({ publish: ['orders.*'], subscribe: ['orders.>', 'users'] });
  const nobody = aPrincipal({ publish: [], subscribe: [] });

  it('lets publish to what is granted, and names what is not', () => {
    expect(mayPublish(principal, aTopic('orders.eu'))).to.deep.equal(E.right('orders.eu'));
    for (const topic of ['orders', 'orders.eu.x', 'users']) {
      expect(mayPublish(principal, aTopic(topic))).to.deep.equal(
        E.left({ _tag: 'Forbidden', action: 'publish', topic }),
      );
    }
  });

  it('keeps publishing and subscribing apart', () => {
    expect(E.isLeft(mayPublish(principal, aTopic('users')))).to.be.true;
    expect(mayReceive(aPrincipal({ subscribe: [] }), aTopic('orders.eu'))).to.be.false;
  });

  it('lets receive the topics that are granted, one by one', () => {
    const topics = ['orders.eu', 'orders.eu.x', 'users', 'orders', 'others'];
    const granted = topics.map(aTopic).filter((topic) => mayReceive(principal, topic));
    expect(granted).to.deep.equal(['orders.eu', 'orders.eu.x', 'users']);
  });

  it('lets subscribe to names that are granted, and refuses the first that is not', () => {
    const topics = ['users', 'orders.eu'].map(aPattern);
    expect(maySubscribe(principal, topics)).to.deep.equal(E.right(topics));
    expect(maySubscribe(principal, ['users', 'others', 'x'].map(aPattern))).to.deep.equal(
      E.left({ _tag: 'Forbidden', action: 'subscribe', topic: 'others' }),
    );
  });

  it('lets ask for patterns wider than the grants, for each topic is checked by itself', () => {
    expect(E.isRight(maySubscribe(principal, [aPattern('>')]))).to.be.true;
    expect(E.isRight(maySubscribe(principal, []))).to.be.true;
  });

  it('lets nobody without any grant do anything', () => {
    expect(E.isLeft(mayPublish(nobody, aTopic('orders')))).to.be.true;
    expect(mayReceive(nobody, aTopic('orders'))).to.be.false;
    expect(E.isLeft(maySubscribe(nobody, [aPattern('>')]))).to.be.true;
  });
});
