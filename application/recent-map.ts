/**
 * RecentMap: what was used last. Kept in two halves, of which the older one goes as a whole: a map that always gives up
 * its oldest entry is always being built anew. So between half of `max` and `max` entries are there, once it is full.
 */
export class RecentMap<Key, Value> {
  private recent = new Map<Key, Value>();
  private earlier = new Map<Key, Value>();

  constructor(private readonly max: number) {}

  /** Without using it. */
  peek(key: Key): Value | undefined {
    return this.recent.get(key) ?? this.earlier.get(key);
  }

  /** Used now, so kept for longer than others. */
  use(key: Key): Value | undefined {
    const recent = this.recent.get(key);
    if (recent !== undefined) return recent;
    const known = this.earlier.get(key);
    if (known !== undefined) this.set(key, known);
    return known;
  }

  set(key: Key, value: Value): void {
    this.recent.set(key, value);
    if (this.recent.size < this.max / 2) return;
    this.earlier = this.recent;
    this.recent = new Map();
  }

  forEach(visit: (value: Value) => void): void {
    for (const half of [this.recent, this.earlier]) half.forEach((value) => visit(value));
  }
}
