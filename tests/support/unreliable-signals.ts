/** The signals of one instance, which a test can cut off from what the others send. */
import type { JournalSignals, OnJournalSignal } from '../../application/ports/journal-signals.js';
import type { Identity } from '../../domain/subscription/client-id.js';

export class UnreliableSignals implements JournalSignals {
  isCut = false;
  private readonly missedListeners: (() => void)[] = [];

  constructor(private readonly signals: JournalSignals) {}

  send(identity: Identity, by: string | undefined): void {
    this.signals.send(identity, by);
  }

  /** Says that signals were missed, as after a break of pub/sub. */
  mend(): void {
    this.isCut = false;
    for (const listener of this.missedListeners) listener();
  }

  onMissed(listener: () => void): void {
    this.missedListeners.push(listener);
  }

  onSignal(listener: OnJournalSignal): void {
    this.signals.onSignal((identity, by) => {
      if (!this.isCut) listener(identity, by);
    });
  }
}
