import { MemoryJournalSignals } from '../../../infrastructure/memory/memory-journal-signals.js';
import { describeJournalSignals } from '../../contracts/journal-signals.contract.js';

describeJournalSignals('MemoryJournalSignals', () =>
  Promise.resolve({ instances: [new MemoryJournalSignals()], close: () => Promise.resolve() }),
);
