declare const brand: unique symbol;

/** A value that only its parser can make: a `Branded<string, 'TopicName'>` has been checked once and stays checked. */
export type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };
