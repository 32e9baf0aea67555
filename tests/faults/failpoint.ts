/** Where a proxy is to die, said to `failing-proxy.ts` by an environment variable. */

export interface Failpoint {
  readonly when: 'before' | 'after';
  /** The type of an event; an append that has one counts. */
  readonly event: string;
  /** Dies at the n-th such append, counted from 1. */
  readonly nth: number;
}

export const FAILPOINT_VARIABLE = 'FAILPOINT';
