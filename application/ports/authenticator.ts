/**
 * Authenticator: a token, as the client sent it, to the principal it stands for.
 * Promises: the same answer for every way a token can be wrong (a caller learns nothing by trying); comparisons take
 *   constant time. Does not promise: that a principal is still valid after `expiresAt`; whoever keeps one checks.
 * Contract: tests/contracts/authenticator.contract.ts. Every adapter runs it.
 */
import type { taskEither as TE } from 'fp-ts';
import type { Instant } from '../../domain/time.js';
import type { TopicPattern } from '../../domain/topic/topic-pattern.js';

/** What a principal may do, as patterns of topics. Nothing that is not listed is allowed. */
export interface Grants {
  readonly publish: readonly TopicPattern[];
  readonly subscribe: readonly TopicPattern[];
  readonly manage: readonly TopicPattern[];
}

export interface Principal {
  /** `key:<name>` or `jwt:<sub>`: an API key and a user never share a subscription. */
  readonly id: string;
  readonly grants: Grants;
  /** Absent: does not expire. */
  readonly expiresAt?: Instant;
}

export interface InvalidToken {
  readonly _tag: 'InvalidToken';
}

export interface Authenticator {
  authenticate(token: string): TE.TaskEither<InvalidToken, Principal>;
}
