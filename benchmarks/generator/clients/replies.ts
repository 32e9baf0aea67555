/** Answers that come in the order of their questions, on a connection that also carries messages. */
export class Replies {
  private readonly waiting: (() => void)[] = [];

  next(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  arrived(): void {
    this.waiting.shift()?.();
  }
}
