import { randomBytes } from 'node:crypto';
import type { IdSource } from '../../application/ports/id-source.js';

/** 128 bits: nobody meets the same one twice, and nobody guesses one. */
const ID_BYTES = 16;

export class RandomIdSource implements IdSource {
  next(): string {
    return randomBytes(ID_BYTES).toString('base64url');
  }
}
