/** What slab and windows hold in memory together. Each adds what it takes and takes off what it gives back. */
export interface MemoryHeld {
  bytes: number;
}
