/**
 * Deciders, told as stories: `given(decider, events).when(command).then(event)`. What happened before is events, so a
 * spec never builds a state by hand and holds whatever the state looks like.
 */
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { replay, type Decider } from '../../domain/decider.js';

interface Outcome<Event, Refusal> {
  /** Exactly these events happened, in this order. */
  then(...events: readonly Event[]): void;
  /** Refused, with this tag and at least these fields. */
  thenRefused(tag: TagOf<Refusal>, fields?: Partial<Refusal>): void;
  /** It was so already: no event, and no refusal. */
  thenNothing(): void;
}

type TagOf<Refusal> = Refusal extends { readonly _tag: infer Tag } ? Tag : never;

export const given = <Command, State, Event, Refusal>(
  decider: Decider<Command, State, Event, Refusal>,
  events: readonly Event[] = [],
) => ({
  when: (command: Command): Outcome<Event, Refusal> => {
    const decision = decider.decide(replay(decider, decider.initialState, events), command);
    const happened = (): readonly Event[] => {
      if (E.isLeft(decision)) throw new Error(`refused: ${JSON.stringify(decision.left)}`);
      return decision.right;
    };
    return {
      then: (...expected) => expect(happened()).to.deep.equal(expected),
      thenRefused: (tag, fields = {}) => {
        if (E.isRight(decision)) throw new Error(`not refused: ${JSON.stringify(decision.right)}`);
        expect(decision.left).to.deep.include({ _tag: tag, ...fields });
      },
      thenNothing: () => expect(happened()).to.deep.equal([]),
    };
  },
});
