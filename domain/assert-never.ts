/** Ends a switch over a union, so that a new case fails to compile at every place that must think about it. */
export const assertNever = (value: never): never => {
  throw new Error(`unexpected case: ${JSON.stringify(value)}`);
};
