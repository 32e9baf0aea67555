/**
 * POST /api/v1/ack, /nack, /extend and /terminate: what becomes of messages that a poll was given, or a WebSocket with
 * the same client_id. Answered once it is recorded.
 */
import type Router from '@koa/router';
import { function as F, taskEither as TE } from 'fp-ts';
import type { SettleMessages } from '../../application/settle-messages.js';
import { decodeSettleBody } from '../codecs/http-requests.js';
import { settledMembers, type SettlingVerb } from '../codecs/settling.js';
import { toProblem } from '../problem.js';
import type { Authenticated } from './authenticate.js';
import { IDS_BYTES_MAX, jsonBody } from './json-body.js';
import { answerProblem } from './problem-response.js';

const VERBS: readonly SettlingVerb[] = ['ack', 'nack', 'extend', 'terminate'];

export const addSettleRoutes = (router: Router<Authenticated>, settle: SettleMessages): void => {
  for (const verb of VERBS) {
    router.post(`/api/v1/${verb}`, jsonBody(IDS_BYTES_MAX), async (context) => {
      await F.pipe(
        TE.fromEither(decodeSettleBody(verb, context.request.body)),
        TE.flatMap(({ clientId, settling }) =>
          F.pipe(
            settle(context.state.principal, clientId, settling),
            TE.bimap(toProblem, (settled) => settledMembers(settling, settled)),
          ),
        ),
        TE.match(
          (problem) => answerProblem(context, problem),
          (members) => {
            context.status = 200;
            context.body = members;
          },
        ),
      )();
    });
  }
};
