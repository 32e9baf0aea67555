/** How many connections this instance holds at once: sockets and waiting polls together. */
export class ConnectionLimit {
  private taken = 0;

  constructor(private readonly connectionsMax: number) {}

  /** True where there was room for one more; whoever got true gives it back once. */
  take(): boolean {
    if (this.taken >= this.connectionsMax) return false;
    this.taken += 1;
    return true;
  }

  giveBack(): void {
    this.taken -= 1;
  }
}
