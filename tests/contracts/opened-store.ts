/** What the parts of the contract of EventStore open, and what they may do to it besides using it. */
import type { EventStore, RetentionSettings, Stream } from '../../application/ports/event-store.js';

export interface OpenedStore {
  readonly store: EventStore;
  /** Makes the store forget the whole stream, as a disaster or its time being over would. */
  readonly lose: (stream: Stream) => Promise<void>;
  /** Lets time pass, for the store. */
  readonly pass: (ms: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Opens an empty store that nobody else uses. */
export type OpenEventStore = (retention: RetentionSettings) => Promise<OpenedStore>;
