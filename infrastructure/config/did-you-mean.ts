/** The known name that a mistyped one was probably meant to be. */

/** Two slips are a typing mistake; three make another word. */
const SLIPS_MAX = 2;

/** A half sentence to append, or nothing where no known name is near. */
export const didYouMean = (given: string, known: readonly string[]): string => {
  const [nearest] = known
    .map((name) => ({ name, slips: slipsBetween(given, name) }))
    .filter(({ slips }) => slips <= SLIPS_MAX)
    .sort((a, b) => a.slips - b.slips);
  return nearest === undefined ? '' : `; did you mean ${nearest.name}?`;
};

/** Levenshtein's distance: letters to add, drop or change. Keeps one row of the table. */
const slipsBetween = (a: string, b: string): number => {
  if (Math.abs(a.length - b.length) > SLIPS_MAX) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = at(row, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, at(row, j) + 1, at(next, j - 1) + 1));
    }
    row = next;
  }
  return at(row, b.length);
};

const at = (row: readonly number[], index: number): number => row[index] ?? Infinity;
