/** What a poll answers, whichever way its request came: by Koa's route or by the lean one. */
import { either as E } from 'fp-ts';
import type { Caller, PollAnswer, PollMessages } from '../../application/poll-messages.js';
import type { Principal } from '../../application/ports/authenticator.js';
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
  return async (principal, query, caller) => {
    if (!connections.take()) {
      return E.left({ code: 'too_many_connections', detail: 'Try again, or another instance.' });
    }
    try {
      const request = decode(query);
      if (E.isLeft(request)) return request;
      const answer = await polls.poll(principal, request.right, caller)();
      return E.isLeft(answer) ? E.left(toProblem(answer.left)) : E.right(answerText(answer.right));
    } finally {
      connections.giveBack();
    }
  };
};

const answerText = ({ messages, gaps, isNewSubscription }: PollAnswer): string => {
  let text = '{"messages":[';
  let separator = '';
  for (const { topic, message, attempt } of messages) {
    text += `${separator}{${messageMembers(topic, message, attempt)}}`;
    separator = ',';
  }
  text += ']';
  if (gaps.length > 0) text += `,"gaps":[${gaps.map((gap) => `{${gapMembers(gap)}}`).join(',')}]`;
  return `${text}${isNewSubscription ? ',"new_subscription":true' : ''}}`;
};
