/**
 * JournalSignals: tells every instance that a subscription's journal was written to by somebody who does not hold the
 * subscription on a connection: another connection has taken it over, or a request has settled messages. Whoever holds
 * it, or waits in a poll of it, then reads the journal.
 * Promises: cheap, and usually there within milliseconds, on the instance that sent it too.
 * Does not promise: that a signal arrives. Nothing depends on it but time: every append is fenced by the version.
 * Contract: tests/contracts/journal-signals.contract.ts. Every adapter runs it.
 */
import type { Identity } from '../../domain/subscription/client-id.js';

/** `by`: the session that has written; whoever is that session need not look. Undefined: a request. */
export type OnJournalSignal = (identity: Identity, by: string | undefined) => void;

export interface JournalSignals {
  /** Never throws, never waits. */
  send(identity: Identity, by: string | undefined): void;
  /** Calls `listener` for every signal, for good. */
  onSignal(listener: OnJournalSignal): void;
  /** Calls `listener` whenever signals may have been missed until now. */
  onMissed(listener: () => void): void;
}
