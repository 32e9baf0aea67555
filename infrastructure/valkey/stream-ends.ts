/**
 * Where many streams end, in one question: asked one by one, the ends of a hundred thousand followed topics took a
 * seventh of a core while nothing happened (benchmarks/followed-topics.ts).
 */
import { either as E } from 'fp-ts';
import type { StoreUnavailable } from '../../application/ports/event-store.js';
import type { Cursor, Offset } from '../../domain/message/offset.js';
import { script, STREAM_LUA } from './scripts.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand, notSent } from './valkey-errors.js';

/**
 * The last offset and the last n of each stream in KEYS; 0 and 0 where it does not exist, -1 and -1 where it cannot be
 * said, since the key holds something else, which must not concern the others.
 */
const ENDS = script(
  '#!lua flags=no-writes',
  STREAM_LUA,
  `
local answers = {}
for i, key in ipairs(KEYS) do
  local is_stream, offset, n = pcall(last_of, key)
  if not is_stream then offset, n = -1, -1 end
  answers[2 * i - 1], answers[2 * i] = offset, n
end
return answers
`,
);

/** In the order of the keys; undefined for one that holds something else. */
export const readEnds = async (
  connection: ValkeyConnection,
  keys: readonly string[],
): Promise<E.Either<StoreUnavailable, readonly (Cursor | undefined)[]>> => {
  const client = connection.reads;
  if (client.status !== 'ready') return E.left(notSent('disconnected'));
  try {
    const reply = (await connection.run(client, ENDS, keys, [])) as readonly number[];
    return E.right(
      keys.map((_, i) => {
        const offset = reply[2 * i] ?? -1;
        return offset < 0 ? undefined : { offset: offset as Offset, n: reply[2 * i + 1] ?? 0 };
      }),
    );
  } catch (error) {
    const failure = fromSentCommand(error);
    if (failure.reason === 'timeout') connection.reset(client);
    return E.left(failure);
  }
};
