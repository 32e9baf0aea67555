/**
 * LostMessages: Valkey may come back without the newest messages of a topic (its log lost its end) or without the topic
 * (FLUSHALL, DEL). Whoever still knows how far a topic had come records that, as one marker entry (`MessagesLost`).
 * Promises: what this instance has appended in the last seconds, or has followed, is not given the same places again
 *   once it has come back: on each connection the markers go out before any append; whoever reads the topic comes by
 *   the marker and so learns of the loss. Many instances may do this at once: the first one does it, the others find
 *   it done.
 * Does not promise: anything for topics that no instance follows or has appended to lately; nor, where Valkey is flushed
 *   while it is being written to, that the newest messages of several instances lie in one marker, or in any where
 *   nobody follows the topic: each tells what it knows.
 *
 * HOT PATH: `appended` is called once per append and is a look into a map and a write to one.
 */
import { either as E } from 'fp-ts';
import type { Redis } from 'iovalkey';
import {
  CATALOGUE,
  topicIdleMs,
  topicStream,
  type RetentionSettings,
  type StoreUnavailable,
} from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Cursor, Offset } from '../../domain/message/offset.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import type { KeyNames } from './keys.js';
import { encodeEvent, LOST } from './recorded-event-codec.js';
import { ADD_LUA, script, STREAM_LUA } from './scripts.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand, notSent } from './valkey-errors.js';

/** A topic is known to have reached `end`. */
export interface Reached {
  readonly topic: TopicName;
  readonly end: Cursor;
}

/**
 * Where a topic ends before the place that it is known to have reached, adds the marker and counts on from there.
 * KEYS: 1 the catalogue, then the topics.
 * ARGV: 1 idle time after which a topic is forgotten in ms, 2 the catalogue's channel; then for each topic the offset
 *   and the n that it had reached, and the catalogue's event for it.
 * Answers for each topic {1 where a marker was added and else 0, last offset, last n}.
 *
 * The marker stands at the place that was reached: who had been there has missed nothing. Where others have appended
 * behind that place in the meantime it can only stand at the end, and says in `meta` between which places the loss is.
 * That this has happened shows in the entry at the place that was reached: it is gone, and was neither trimmed
 * (the first entry would be counted higher) nor removed (Valkey keeps the highest id that was).
 * Commands: https://valkey.io/commands/xsetid/, /xinfo-stream/.
 */
const RESTORE = script(
  '#!lua',
  STREAM_LUA,
  ADD_LUA,
  `
local idle_ms = tonumber(ARGV[1])

local function field_of(entry, name)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == name then return entry[2][i + 1] end
  end
end

local function look_at(key)
  if redis.call('EXISTS', key) == 0 then return nil end
  local info, found = redis.call('XINFO', 'STREAM', key), {}
  for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
  return {
    offset = offset_of(found['last-generated-id']),
    n = found['entries-added'],
    removed = offset_of(found['max-deleted-entry-id']),
    first = found['first-entry'],
    last = found['last-entry'],
  }
end

local function create(topic_event)
  local offset, n = last_of(KEYS[1])
  add(KEYS[1], ARGV[2], 'event', '', { topic_event, '' }, 1, 2, offset, n)
end

local function mark(key, offset, n, reason, meta)
  local entry = { 'XADD', key, id_of(offset), 'n', n, '${LOST}', reason }
  if meta then
    entry[#entry + 1] = 'meta'
    entry[#entry + 1] = meta
  end
  redis.call(unpack(entry))
  redis.call('XSETID', key, id_of(offset), 'ENTRIESADDED', n)
  redis.call('PEXPIRE', key, idle_ms)
  return { 1, offset, n }
end

-- Is the entry at a place that the stream is behind of still there, or away for a reason that is not a loss?
local function is_there(stream, key, offset, n)
  if not stream.first or stream.removed >= offset then return true end
  if (tonumber(field_of(stream.first, 'n')) or n + 1) > n then return true end
  return #redis.call('XRANGE', key, id_of(offset), id_of(offset)) > 0
end

-- Has somebody told of the loss of this place already? Of a marker that is not among the newest entries any more this
-- is not found out, and the loss is told once more.
local function is_told(key, offset)
  local above = redis.call('XRANGE', key, '(' .. id_of(offset), '+', 'COUNT', 1)[1]
  if above and field_of(above, '${LOST}') and not field_of(above, 'meta') then return true end
  for _, entry in ipairs(redis.call('XREVRANGE', key, '+', '(' .. id_of(offset), 'COUNT', 64)) do
    local meta = field_of(entry, '${LOST}') and field_of(entry, 'meta')
    local to = meta and tonumber(string.match(meta, '"to":{"offset":(%d+)'))
    if to and to >= offset then return true end
  end
  return false
end

local function reason_of(stream, offset, n)
  -- A marker that stops short of this place tells the front of the same loss.
  local told = stream.last and field_of(stream.last, '${LOST}')
  if told then return told end
  local began_anew = stream.first and offset_of(stream.first[1]) > offset and
    (tonumber(field_of(stream.first, 'n')) or n + 1) <= n
  return began_anew and 'stream_reset' or 'storage_rollback'
end

local function place(offset, n)
  return string.format('{"offset":%.0f,"n":%.0f}', offset, n)
end

local function restore(key, offset, n, topic_event)
  local stream = look_at(key)
  -- Nobody has deleted it: its time was over. It may have begun anew since.
  if now_ms - math.floor(offset / 1024) >= idle_ms then
    return { 0, stream and stream.offset or 0, stream and stream.n or 0 }
  end
  if not stream then
    create(topic_event)
    return mark(key, offset, n, 'stream_reset')
  end
  if stream.offset < offset then
    return mark(key, offset, math.max(n, stream.n + 1), reason_of(stream, offset, n))
  end
  if (stream.n >= n and is_there(stream, key, offset, n)) or is_told(key, offset) then
    return { 0, stream.offset, stream.n }
  end
  local kept = redis.call('XREVRANGE', key, id_of(offset), '-', 'COUNT', 1)[1]
  local from = kept and place(offset_of(kept[1]), tonumber(field_of(kept, 'n')) or 0) or place(0, 0)
  local meta = '{"from":' .. from .. ',"to":' .. place(offset, n) .. '}'
  return mark(key, stream.offset + 1, math.max(n, stream.n) + 1, reason_of(stream, offset, n), meta)
end

local answers = {}
for i = 2, #KEYS do
  local arg = 3 * i - 3
  answers[#answers + 1] = restore(KEYS[i], tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), ARGV[arg + 2])
end
return answers
`,
);

/** Topics in one script call: about a millisecond of Valkey's time, in which nobody else is served. */
const RESTORE_GROUP = 200;
/** The newest topics in each of the two halves of what is remembered. */
const RECENT_MAX = 50_000;
/** Remembered for one to two of these: longer than Valkey may hold back a write from its log (2 s), for a busy minute. */
const RECENT_MS = 5_000;

/** Where a topic ended when it was heard of last. */
interface Place {
  offset: Offset;
  n: number;
}

const toPlace = ({ offset, n }: Cursor): Place => ({ offset, n });

export class LostMessages {
  /** Where the topics ended that were appended to lately: in the running interval, and in the one before. */
  private recent = new Map<TopicName, Place>();
  private earlier = new Map<TopicName, Place>();
  /** Topics for which an answer is awaited: under load, every append would ask. */
  private readonly asked = new Set<TopicName>();
  private isRestoringAll = false;
  private followed: () => Iterable<Reached> = () => [];
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly names: KeyNames,
    private readonly retention: RetentionSettings,
    private readonly logger: Logger,
  ) {
    // Both sockets on which appends go out. What is sent while this is emitted is in front of every append.
    for (const client of [connection.commands, connection.durable]) {
      client.on('ready', () => void this.restoreAll(client));
    }
    // Without a connection nothing is forgotten: what was appended right before it broke is what may be lost.
    this.timer = setInterval(() => {
      if (connection.commands.status === 'ready') this.age();
    }, RECENT_MS);
  }

  dispose(): void {
    clearInterval(this.timer);
  }

  /** The feed's part of what this instance knows. */
  observeFollowed(followed: () => Iterable<Reached>): void {
    this.followed = followed;
  }

  /**
   * HOT PATH, budget 0.3 µs with thousands of topics (npm run bench:profile -- --scenario headline): an append was
   * answered with these places. What is known of a topic is written over and not replaced: the map would be searched
   * twice, and each place would live just long enough to be garbage among what is old.
   */
  appended(topic: TopicName, first: Cursor, last: Cursor): void {
    const recent = this.recent.get(topic);
    const known = recent ?? this.earlier.get(topic);
    if (known === undefined) {
      this.remember(topic, toPlace(last));
      return;
    }
    if (first.offset > known.offset && first.n <= known.n) {
      // Counted from a lower number, so what was counted before is gone.
      if (!this.asked.has(topic)) void this.restoreOne({ topic, end: toPlace(known) });
      return;
    }
    // Answers of two sockets may overtake each other.
    if (last.offset < known.offset) return;
    known.offset = last.offset;
    known.n = last.n;
    if (recent === undefined) this.remember(topic, known);
  }

  private remember(topic: TopicName, end: Place): void {
    this.recent.set(topic, end);
    if (this.recent.size >= RECENT_MAX) this.age();
  }

  /** Answers where each of the topics ends now; 0 and 0 for one whose time is over. */
  async restore(
    reached: readonly Reached[],
    client: Redis = this.connection.commands,
  ): Promise<E.Either<StoreUnavailable, readonly Cursor[]>> {
    if (client.status !== 'ready') return E.left(notSent('disconnected'));
    const groups: (readonly Reached[])[] = [];
    for (let i = 0; i < reached.length; i += RESTORE_GROUP) groups.push(reached.slice(i, i + RESTORE_GROUP));
    try {
      const answers = await Promise.all(groups.map((group) => this.send(client, group)));
      return E.right(answers.flat());
    } catch (error) {
      this.logger.warn('valkey_loss_not_recorded', { topics: reached.length, error });
      const failure = fromSentCommand(error);
      if (failure.reason === 'timeout') this.connection.reset(client);
      return E.left(failure);
    }
  }

  private async send(client: Redis, group: readonly Reached[]): Promise<readonly Cursor[]> {
    const keys = [this.names.key(CATALOGUE), ...group.map(({ topic }) => this.names.key(topicStream(topic)))];
    const args = [String(topicIdleMs(this.retention)), this.names.channel(CATALOGUE)];
    for (const { topic, end } of group) {
      args.push(String(end.offset), String(end.n), encodeEvent({ type: 'TopicCreated', topic }).body);
    }
    // With its text and not by its digest: a Valkey that was restarted does not know it, and to ask again is too late.
    const reply = await client.call('EVAL', RESTORE.source, keys.length, ...keys, ...args);
    return (reply as readonly (readonly [marked: number, offset: number, n: number])[]).map(
      ([marked, offset, n], i) => {
        const known = group[i];
        if (marked === 1) this.logger.error('valkey_messages_lost', { ...known, markedAt: { offset, n } });
        return { offset: offset as Offset, n };
      },
    );
  }

  private async restoreOne(reached: Reached): Promise<void> {
    this.asked.add(reached.topic);
    const ends = await this.restore([reached]);
    this.asked.delete(reached.topic);
    const end = E.isRight(ends) ? ends.right[0] : undefined;
    if (end === undefined || end.offset <= reached.end.offset) return;
    this.recent.set(reached.topic, toPlace(end));
    // Seldom is it one topic: after FLUSHALL it is everything, and of some topics nobody would find it out.
    if (!this.isRestoringAll) await this.restoreAll(this.connection.commands);
  }

  /** Everything that this instance knows of. */
  private async restoreAll(client: Redis): Promise<void> {
    const furthest = new Map<TopicName, Cursor>(this.earlier);
    for (const [topic, end] of this.recent) furthest.set(topic, end);
    for (const { topic, end } of this.followed()) {
      if (end.n > 0 && end.offset > (furthest.get(topic)?.offset ?? 0)) furthest.set(topic, end);
    }
    if (furthest.size === 0) return;
    // As they are now: by the time of the answer there may have been other appends.
    const reached = [...furthest].map(([topic, end]) => ({ topic, end: toPlace(end) }));
    this.isRestoringAll = true;
    const ends = await this.restore(reached, client);
    this.isRestoringAll = false;
    if (E.isLeft(ends)) return;
    for (const [i, { topic, end }] of reached.entries()) {
      const now = ends.right[i];
      if (now !== undefined && now.offset > end.offset && this.recent.has(topic))
        this.recent.set(topic, toPlace(now));
    }
  }

  private age(): void {
    this.earlier = this.recent;
    this.recent = new Map();
  }
}
