/** Sent first; the acknowledgement is what is recorded. Costs: a message may come twice, and says so by `attempt`. */
import { dispatched } from '../subscription/topic-position.js';

export const atLeastOnce = { recordsBeforeSend: false, dispatched } as const;
