/** What a poll answers, whichever way its request came: by Koa's route or by the lean one. */
import { either as E } from 'fp-ts';
import type { Caller, PollAnswer, PolledMessage, PollMessages } from '../../application/poll-messages.js';
import type { Principal } from '../../application/ports/authenticator.js';
import type { SubscribeRefusal } from '../../application/refusals.js';
import type { Milliseconds } from '../../domain/time.js';
import { messageMembers } from '../codecs/delivered-message.js';
import { gapMembers } from '../codecs/gap.js';
import { pollQueryDecoder } from '../codecs/http-requests.js';
import type { ConnectionLimit } from '../connection-limit.js';
import { toProblem, type Problem } from '../problem.js';

export const POLL_PATH = '/api/v1/poll';

export interface PollingSettings {
  readonly pollTimeoutMaxMs: Milliseconds;
}

/** `query` is what stands behind the question mark. Resolves with the JSON text of the answer. */
export type Polling = (
  principal: Principal,
  query: string,
  caller: Caller,
) => Promise<E.Either<Problem, string>>;

export const makePolling = (
  polls: PollMessages,
  connections: ConnectionLimit,
  { pollTimeoutMaxMs }: PollingSettings,
): Polling => {
  const decode = pollQueryDecoder(pollTimeoutMaxMs);
  const textOf = answerTexts();
  // The same for all polls: nothing but a promise is held for one that waits.
  const onAnswer = (answer: E.Either<SubscribeRefusal, PollAnswer>): E.Either<Problem, string> => {
    connections.giveBack();
    return E.isLeft(answer) ? E.left(toProblem(answer.left)) : E.right(textOf(answer.right));
  };
  const onThrown = (error: unknown): never => {
    connections.giveBack();
    throw error;
  };
  return (principal, query, caller) => {
    if (!connections.take()) return TOO_MANY_CONNECTIONS;
    const request = decode(query);
    if (E.isLeft(request)) {
      connections.giveBack();
      return Promise.resolve(request);
    }
    return polls.poll(principal, request.right, caller)().then(onAnswer, onThrown);
  };
};

const TOO_MANY_CONNECTIONS: Promise<E.Either<Problem, never>> = Promise.resolve(
  E.left({ code: 'too_many_connections', detail: 'Try again, or another instance.' }),
);

/** Texts of answers. A thousand polls that waited for the same message are answered with the same text. */
const answerTexts = (): ((answer: PollAnswer) => string) => {
  let last: PolledMessage | undefined;
  let lastText = '';
  const memberOf = (polled: PolledMessage): string => {
    if (last?.message !== polled.message || last.attempt !== polled.attempt) {
      last = polled;
      lastText = `{${messageMembers(polled.topic, polled.message, polled.attempt)}}`;
    }
    return lastText;
  };
  return (answer) => answerText(answer, memberOf);
};

const answerText = (
  { messages, gaps, isNewSubscription }: PollAnswer,
  memberOf: (polled: PolledMessage) => string,
): string => {
  let text = '{"messages":[';
  let separator = '';
  for (const polled of messages) {
    text += `${separator}${memberOf(polled)}`;
    separator = ',';
  }
  text += ']';
  if (gaps.length > 0) text += `,"gaps":[${gaps.map((gap) => `{${gapMembers(gap)}}`).join(',')}]`;
  return `${text}${isNewSubscription ? ',"new_subscription":true' : ''}}`;
};
