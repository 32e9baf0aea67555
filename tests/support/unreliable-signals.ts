/** The signals of one instance, which a test can cut off from what the others send. */
import type { JournalSignals, OnJournalSignal } from '../../application/ports/journal-signals.js';
import type { Identity } from '../../domain/subscription/client-id.js';

export class UnreliableSignals implements JournalSignals {
  isCut = false;

  constructor(private readonly signals: JournalSignals) {}

  send(identity: Identity, by: string | undefined): void {
    this.signals.send(identity, by);
  }

  onSignal(listener: OnJournalSignal): void {
    this.signals.onSignal((identity, by) => {
      if (!this.isCut) listener(identity, by);
    });
  }
}
