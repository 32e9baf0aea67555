/** The claim `topics: {subscribe: [patterns], publish: [patterns]}` of a token, to what its bearer may do. */
import { either as E, function as F, option as O, readonlyArray as RA } from 'fp-ts';
import * as t from 'io-ts';
import type { Grants } from '../../application/ports/authenticator.js';
import { parseTopicPattern, type TopicPattern } from '../../domain/topic/topic-pattern.js';

const TopicsClaim = t.partial({ subscribe: t.array(t.string), publish: t.array(t.string) });

/**
 * None where the claim is not exactly what it must be: half-understood rights are wrong rights. A list that is absent
 * grants nothing, and no token manages.
 */
export const parseTopicsClaim = (claim: unknown): O.Option<Grants> =>
  F.pipe(
    O.fromEither(TopicsClaim.decode(claim)),
    O.bindTo('lists'),
    O.bind('subscribe', ({ lists }) => parsePatterns(lists.subscribe)),
    O.bind('publish', ({ lists }) => parsePatterns(lists.publish)),
    O.map(({ subscribe, publish }) => ({ subscribe, publish, manage: [] })),
  );

const parsePatterns = (patterns: readonly string[] = []): O.Option<readonly TopicPattern[]> =>
  O.fromEither(RA.traverse(E.Applicative)(parseTopicPattern)(patterns));
