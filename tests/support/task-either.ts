/** Runs a TaskEither in a test: the expected side, or a failure that shows the other. */
import { either as E, type taskEither as TE } from 'fp-ts';

export const right = async <L, A>(task: TE.TaskEither<L, A>): Promise<A> => {
  const outcome = await task();
  if (E.isRight(outcome)) return outcome.right;
  throw new Error(`expected success, got ${JSON.stringify(outcome.left)}`);
};

export const left = async <L, A>(task: TE.TaskEither<L, A>): Promise<L> => {
  const outcome = await task();
  if (E.isLeft(outcome)) return outcome.left;
  throw new Error(`expected a refusal, got ${JSON.stringify(outcome.right)}`);
};
