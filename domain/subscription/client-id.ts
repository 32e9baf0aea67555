/** The name a subscriber chooses for itself. With its principal it identifies a subscription; see `Identity`. */
import { either as E } from 'fp-ts';
import type { Branded } from '../branded.js';

export type ClientId = Branded<string, 'ClientId'>;

export interface InvalidClientId {
  readonly _tag: 'InvalidClientId';
  readonly input: string;
}

const CLIENT_ID_PATTERN = /^[A-Za-z0-9_.-]{1,128}$/;

export const parseClientId = (input: string): E.Either<InvalidClientId, ClientId> =>
  CLIENT_ID_PATTERN.test(input) ? E.right(input as ClientId) : E.left({ _tag: 'InvalidClientId', input });

/** Whose subscription it is. Two principals with the same client_id never meet: the principal is part of the identity. */
export interface Identity {
  /** `key:<name>` or `jwt:<sub>`. */
  readonly principal: string;
  readonly clientId: ClientId;
}

/** One text for each identity: a client_id has no space in it. */
export const keyOf = ({ principal, clientId }: Identity): string => `${clientId} ${principal}`;
