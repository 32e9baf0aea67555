/** IdSource: identifiers that nobody else has and nobody can guess (at least 96 random bits, `[A-Za-z0-9_-]`). */
export interface IdSource {
  next(): string;
}
