import type { either as E } from 'fp-ts';

/**
 * An event-sourced thing as three pure values. `decide` answers in one of three ways: events, no events (already so),
 * or a refusal. `evolve` believes events and never refuses.
 */
export interface Decider<Command, State, Event, Refusal> {
  readonly initialState: State;
  readonly decide: (state: State, command: Command) => E.Either<Refusal, readonly Event[]>;
  readonly evolve: (state: State, event: Event) => State;
}

/** The state after `events`, starting from `state`. */
export const replay = <State, Event>(
  decider: { readonly evolve: (state: State, event: Event) => State },
  state: State,
  events: readonly Event[],
): State => events.reduce(decider.evolve, state);
