/**
 * Digest: a short text that stands for a long one. Promises: the same text always has the same digest, on every
 * instance and after every restart, and nobody can find two texts with the same one.
 * Contract: tests/infrastructure/system/sha256-digest.test.ts.
 */
export type Digest = (text: string) => string;
