/**
 * A list that is made of its members: nothing is allocated when one comes or goes. For what comes and goes by the
 * thousand: a Set that has grown out of its table leaves the table pointing to the next one, and once one of them is
 * old, everything that was ever in them outlives every scavenge.
 */
export interface Linked<Member> {
  next: Member | undefined;
  previous: Member | undefined;
}

export class LinkedList<Member extends Linked<Member>> {
  private first: Member | undefined;
  private last: Member | undefined;
  /** Whom the visit that is under way comes to next. */
  private upcoming: Member | undefined;

  get isEmpty(): boolean {
    return this.first === undefined;
  }

  /** At the end. Only for who is in no list. */
  add(member: Member): void {
    member.previous = this.last;
    if (this.last === undefined) this.first = member;
    else this.last.next = member;
    this.last = member;
  }

  /** Only for who is in this list. */
  remove(member: Member): void {
    const { next, previous } = member;
    if (this.upcoming === member) this.upcoming = next;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    member.next = undefined;
    member.previous = undefined;
  }

  /** In the order in which they came. Any of them may leave meanwhile, and is not visited then; one visit at a time. */
  forEach(visit: (member: Member) => void): void {
    for (let member = this.first; member !== undefined; member = this.upcoming) {
      this.upcoming = member.next;
      visit(member);
    }
    this.upcoming = undefined;
  }
}
