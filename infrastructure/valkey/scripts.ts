/**
 * The Lua scripts. `#!lua` makes Valkey refuse a script as a whole when it is out of memory or cannot write its log,
 * instead of in the middle: an append is stored completely or not at all. A script is put together from texts, so that
 * what two of them do is written once.
 */
import { createHash } from 'node:crypto';
import { LOST } from './recorded-event-codec.js';

export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** The first line says which flags the script has; its parts follow. */
export const script = (...parts: readonly string[]): Script => {
  const source = parts.join('');
  return { source, sha: createHash('sha1').update(source).digest('hex') };
};

/** Between the fields of a record, and between records: control characters that JSON text never contains unescaped. */
export const FIELD_SEPARATOR = '\x1f';
export const RECORD_SEPARATOR = '\x1e';

/** offset_of(id of an entry). */
export const OFFSET_LUA = `
local function offset_of(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms) * 1024 + tonumber(seq)
end
`;

/**
 * Where a stream ends and what comes next: last_of(key) → offset, n, the oldest entry's ms; next_offset(last offset);
 * id_of(offset).
 * Commands: https://valkey.io/commands/xinfo-stream/ (entries-added counts what is gone, too), /time/.
 */
export const STREAM_LUA = `
${OFFSET_LUA}
local function last_of(key)
  if redis.call('EXISTS', key) == 0 then return 0, 0 end
  local info = redis.call('XINFO', 'STREAM', key)
  local offset, n, first_ms = 0, 0
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      offset = offset_of(info[i + 1])
    elseif info[i] == 'entries-added' then
      n = info[i + 1]
    elseif info[i] == 'first-entry' and info[i + 1] then
      first_ms = tonumber(string.match(info[i + 1][1], '%d+'))
    end
  end
  return offset, n, first_ms
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- A stream that was deleted and begins anew within the same millisecond must not give its places once more.
local function next_offset(last_offset)
  if last_offset == 0 then return now_ms * 1024 + 512 end
  return math.max(last_offset + 1, now_ms * 1024)
end

local function id_of(offset)
  return string.format('%.0f-%.0f', math.floor(offset / 1024), offset % 1024)
end
`;

/** How many of ARGV say what kind of stream is appended to: see STORE_LUA. */
const KIND_ARGS = 8;

/**
 * add(key, channel, field, most entries or '', texts, first, last, offset and n of the last entry): appends to a stream
 * what stands in `texts` from `first` to `last`, a body and a meta text ('' for none) for each event, and tells it.
 * Answers the first new offset. A loss (its meta begins with LOST) is not told: who follows finds the hole, and reads it.
 * noted(reply): once the first event is stored, nothing that fails makes the append fail, since what is stored must not
 * be answered as refused: an ACL may forbid to PUBLISH, say. `failure` is the first such thing.
 * Commands: https://valkey.io/commands/xadd/, /publish/.
 */
export const ADD_LUA = `
local failure

local function noted(reply)
  if type(reply) == 'table' and reply.err and not failure then failure = reply.err end
  return reply
end

local function add(key, channel, field, max_entries, texts, first, last, last_offset, last_n)
  local offset = next_offset(last_offset)
  local first_offset, n = offset, last_n
  local records = {}
  for i = first, last, 2 do
    local body, meta, id = texts[i], texts[i + 1], id_of(offset)
    n = n + 1
    local entry = { 'XADD', key }
    if max_entries ~= '' then
      entry[3], entry[4], entry[5] = 'MAXLEN', '~', max_entries
    end
    entry[#entry + 1] = id
    entry[#entry + 1] = 'n'
    entry[#entry + 1] = n
    local is_lost = string.sub(meta, 1, ${LOST.length}) == '${LOST}'
    if is_lost then meta = string.sub(meta, ${LOST.length + 1}) end
    entry[#entry + 1] = is_lost and '${LOST}' or field
    entry[#entry + 1] = body
    if meta ~= '' then
      entry[#entry + 1] = 'meta'
      entry[#entry + 1] = meta
    end
    redis.call(unpack(entry))
    if channel ~= '' and not is_lost then
      records[#records + 1] = string.format('%.0f', offset) .. '\\31' .. n .. '\\31' .. meta .. '\\31' .. body
    end
    offset = offset + 1
  end
  if #records > 0 then
    noted(redis.pcall('PUBLISH', channel, table.concat(records, '\\30')))
  end
  return first_offset
end
`;

/**
 * store(key, texts, first, last, offset and n of the last entry, ms of the oldest): adds, and forgets what is too old.
 * Answers the first new offset.
 * ARGV, the same for all streams of a kind: 1 field name of the body, 2 what behind a key makes it the stream's channel,
 *   or '' where nothing is told, 3 idle time after which a stream is forgotten in ms or '', 4 most entries to keep or
 *   '', 5 age after which entries may go in ms or '', 6 the catalogue's channel, 7 what stands in a key in front of the
 *   topic's name, 8 the catalogue's event for a topic, with %s for its name, or '' for streams that are not listed.
 * KEYS[1] is the catalogue.
 * Commands: https://valkey.io/commands/xtrim/, /pexpire/, /pttl/.
 */
const STORE_LUA = `
${ADD_LUA}
local function store(key, texts, first, last, last_offset, last_n, first_ms)
  local channel = ARGV[2] ~= '' and key .. ARGV[2] or ''
  local first_offset = add(key, channel, ARGV[1], ARGV[4], texts, first, last, last_offset, last_n)
  if ARGV[5] ~= '' and first_ms and first_ms < now_ms - ARGV[5] then
    noted(redis.pcall('XTRIM', key, 'MINID', '~', id_of(math.max(0, now_ms - ARGV[5]) * 1024)))
  end
  if ARGV[3] ~= '' then
    -- A tenth more, so that it is moved on seldom: each time is a command more in the log.
    local ttl = noted(redis.pcall('PTTL', key))
    if type(ttl) ~= 'number' or ttl < tonumber(ARGV[3]) then
      noted(redis.pcall('PEXPIRE', key, math.floor(ARGV[3] * 1.1)))
    end
  end
  if last_n == 0 and ARGV[8] ~= '' then
    local is_listed, err = pcall(function()
      local offset, n = last_of(KEYS[1])
      local created = string.format(ARGV[8], string.sub(key, #ARGV[7] + 1))
      add(KEYS[1], ARGV[6], 'event', '', { created, '' }, 1, 2, offset, n)
    end)
    if not is_listed then noted(type(err) == 'table' and err or { err = tostring(err) }) end
  end
  return first_offset
end
`;

/** What became of an append, as APPEND answers it. */
export const CONFLICT = 0;
export const STORED = 1;
export const FAILED = 2;
/** How many replies APPEND gives for each stream. */
export const REPLIES_PER_STREAM = 4;

/** end_of(key) has to be defined in front of it: like last_of. */
const APPEND_LUA = `
local function append(key, expected, first, last)
  local last_offset, last_n, first_ms = end_of(key)
  if expected ~= '' and expected ~= string.format('%.0f %.0f', last_offset, last_n) then
    return ${CONFLICT}, last_offset, last_n
  end
  return ${STORED}, store(key, ARGV, first, last, last_offset, last_n, first_ms), last_n + 1
end

local answers, at = {}, ${KIND_ARGS + 1}
for i = 2, #KEYS do
  local first = at + 2
  local last = first + ARGV[at + 1] - 1
  failure = nil
  -- What is wrong with one key must not concern the others.
  local is_done, outcome, offset, n = pcall(append, KEYS[i], ARGV[at], first, last)
  if not is_done then
    failure = type(outcome) == 'table' and outcome.err or tostring(outcome)
    outcome, offset, n = ${FAILED}, 0, 0
  end
  local place = #answers
  answers[place + 1], answers[place + 2], answers[place + 3] = outcome, offset, n
  answers[place + 4] = failure or 0
  at = last + 1
end
return answers
`;

/**
 * Appends to any number of streams of one kind, to each completely or not at all.
 * KEYS: 1 the catalogue, then the streams, in the order in which they are appended to; one may come again.
 * ARGV: the kind (STORE_LUA); then for each stream the expected end as 'offset n' or '', the number of texts, and a body
 *   and a meta text for each event.
 * Answers for each stream REPLIES_PER_STREAM replies: STORED, first offset, first n, failure or 0 (the client makes a
 *   Buffer of every text, also of an empty one); CONFLICT, offset and n of the actual end, 0; or FAILED, 0, 0 and why it
 *   could not be appended to.
 */
export const APPEND = script('#!lua', STREAM_LUA, STORE_LUA, 'local end_of = last_of', APPEND_LUA);

/**
 * The same for journals, also where the memory is full: whoever could not record what was consumed could not consume
 * either. What it takes is little, as journals are cut behind their snapshots. Of a journal the newest entry is never
 * removed, so it says where the journal ends, for a third of what XINFO STREAM costs.
 * Command: https://valkey.io/commands/xrevrange/.
 */
export const APPEND_TO_SUBSCRIPTION = script(
  '#!lua flags=allow-oom',
  STREAM_LUA,
  STORE_LUA,
  `
local function end_of(key)
  local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if not newest or newest[2][1] ~= 'n' then return last_of(key) end
  return offset_of(newest[1]), tonumber(newest[2][2])
end
`,
  APPEND_LUA,
);

/** What became of an item, as APPEND_ONCE answers it. */
export const ONCE_STORED = 1;
export const ONCE_DUPLICATE = 2;
export const ONCE_KEY_REUSED = 3;

/**
 * Appends what was not appended before under the same key, tells it, and remembers where it is.
 * KEYS: 1 the catalogue, 2 the stream, then the record of each item that has a key.
 * ARGV: the kind (STORE_LUA); '1' where a duplicate is to be synced to disk as well; then five texts for each item:
 *   body, meta, which of KEYS its record is ('' for none), fingerprint, how long it is remembered in ms.
 * Answers {1, ...} where something was stored or is to be synced, {0, ...} where not; then three numbers for each item:
 *   ONCE_STORED, offset, n; ONCE_DUPLICATE, offset, n of the first time; ONCE_KEY_REUSED, 0, 0; then the failure.
 * A record is the text 'offset n fingerprint'. A duplicate writes its record once more, unchanged, because WAITAOF waits
 * for nothing but what its own connection has written.
 * Commands: https://valkey.io/commands/get/, /set/ (PX, KEEPTTL), /waitaof/.
 */
export const APPEND_ONCE = script(
  '#!lua',
  STREAM_LUA,
  STORE_LUA,
  `
local last_offset, last_n, first_ms = last_of(KEYS[2])
local first_offset = next_offset(last_offset)
local texts, records, new, answer = {}, {}, {}, { 0 }
for i = ${KIND_ARGS + 2}, #ARGV, 5 do
  local fingerprint = ARGV[i + 3]
  local key = ARGV[i + 2] ~= '' and KEYS[tonumber(ARGV[i + 2])]
  local known = key and (new[key] or redis.call('GET', key))
  local outcome, offset, n = ${ONCE_KEY_REUSED}, 0, 0
  if not known then
    texts[#texts + 1] = ARGV[i]
    texts[#texts + 1] = ARGV[i + 1]
    local count = #texts / 2
    outcome, offset, n = ${ONCE_STORED}, first_offset + count - 1, last_n + count
    if key then
      new[key] = string.format('%.0f %.0f ', offset, n) .. fingerprint
      records[#records + 1] = { key, new[key], ARGV[i + 4] }
    end
    answer[1] = 1
  else
    local known_offset, known_n, known_fingerprint = string.match(known, '^(%d+) (%d+) (.*)$')
    if known_fingerprint == fingerprint then
      outcome, offset, n = ${ONCE_DUPLICATE}, tonumber(known_offset), tonumber(known_n)
      answer[1] = 1
      if ARGV[${KIND_ARGS + 1}] == '1' and not new[key] then
        noted(redis.pcall('SET', key, known, 'KEEPTTL'))
      end
    end
  end
  answer[#answer + 1] = outcome
  answer[#answer + 1] = offset
  answer[#answer + 1] = n
end
-- The records first: where one cannot be written, nothing is stored that could be stored once more.
for i, record in ipairs(records) do
  local reply = redis.pcall('SET', record[1], record[2], 'PX', record[3])
  if reply.err then
    for j = 1, i - 1 do redis.call('DEL', records[j][1]) end
    return reply
  end
end
if #texts > 0 then
  local is_stored, err = pcall(store, KEYS[2], texts, 1, #texts, last_offset, last_n, first_ms)
  if not is_stored then
    for _, record in ipairs(records) do redis.call('DEL', record[1]) end
    error(err)
  end
end
answer[#answer + 1] = failure
return answer
`,
);

/**
 * Both ends of the stream KEYS[1] without its payloads: {last offset, last n, first offset, first n}, where first is
 * the oldest entry, or {last offset, last n} where no entry is left; {} for a stream that does not exist.
 */
export const BOUNDS = script(
  '#!lua flags=no-writes',
  OFFSET_LUA,
  `
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last_offset, last_n, length, first
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last_offset = offset_of(info[i + 1])
  elseif info[i] == 'entries-added' then last_n = info[i + 1]
  elseif info[i] == 'length' then length = info[i + 1]
  elseif info[i] == 'first-entry' then first = info[i + 1] end
end
if not first then return { last_offset, last_n } end
-- An entry that somebody else has added carries no n, but was counted like ours.
local first_n = last_n - length + 1
for i = 1, #first[2], 2 do
  if first[2][i] == 'n' then first_n = tonumber(first[2][i + 1]) or first_n end
end
return { last_offset, last_n, offset_of(first[1]), first_n }
`,
);

/** What a connection makes known to Valkey, so that it can be called by digest. */
export const SCRIPTS: readonly Script[] = [APPEND, APPEND_TO_SUBSCRIPTION, APPEND_ONCE, BOUNDS];
