/** From what the client library throws to what the port promises, in one place. */
import type { StoreUnavailable } from '../../application/ports/event-store.js';

type Reason = StoreUnavailable['reason'];

/** How Valkey's error replies begin, and what they mean to us. Whatever else it answers: it has refused. */
const REASONS: readonly (readonly [prefix: string, reason: Reason])[] = [
  ['OOM', 'full'],
  ['LOADING', 'loading'],
  ['READONLY', 'read_only'],
  ['NOREPLICAS', 'read_only'],
  ['MISCONF', 'write_error'],
];

const unavailable = (
  outcome: StoreUnavailable['outcome'],
  reason: Reason,
  cause: unknown,
): StoreUnavailable => ({ _tag: 'StoreUnavailable', outcome, reason, cause });

/** How the client library begins to say that it has not sent a command, because its socket is about to close. */
const NOT_WRITABLE = "Stream isn't writeable";

/** The command never left this process. */
export const notSent = (reason: Reason): StoreUnavailable => unavailable('not_stored', reason, undefined);

/** A command that was sent has failed: an error reply is a refusal; silence or a cut connection leaves it open. */
export const fromSentCommand = (error: unknown): StoreUnavailable => {
  if (!(error instanceof Error)) return unavailable('unknown', 'failed', error);
  if (error.name === 'ReplyError') return refused(error.message, error);
  if (error.message.startsWith(NOT_WRITABLE)) return notSent('disconnected');
  return unavailable('unknown', error.message.includes('timed out') ? 'timeout' : 'disconnected', error);
};

/** Valkey has refused it, and a script has told. */
export const fromErrorReply = (message: string): StoreUnavailable => refused(message, new Error(message));

const refused = (message: string, cause: Error): StoreUnavailable => {
  const known = REASONS.find(([prefix]) => message.startsWith(prefix));
  return unavailable('not_stored', known?.[1] ?? 'failed', cause);
};

/** It was stored, but nobody can say that it is on the disk. */
export const notSynced = (cause: unknown): StoreUnavailable => unavailable('unknown', 'timeout', cause);
