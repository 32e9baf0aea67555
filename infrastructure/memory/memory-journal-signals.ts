/** JournalSignals within one process: everybody who could write to a journal in memory is in it. */
import type { JournalSignals, OnJournalSignal } from '../../application/ports/journal-signals.js';
import type { Identity } from '../../domain/subscription/client-id.js';

export class MemoryJournalSignals implements JournalSignals {
  private readonly listeners: OnJournalSignal[] = [];

  send(identity: Identity, by: string | undefined): void {
    // Later, as from Valkey: whoever sends is in the middle of something, and would be called back in it.
    setImmediate(() => {
      for (const listener of this.listeners) listener(identity, by);
    });
  }

  onSignal(listener: OnJournalSignal): void {
    this.listeners.push(listener);
  }

  /** Nothing is ever missed within a process. */
  onMissed(): void {}
}
