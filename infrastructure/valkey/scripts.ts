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

/**
 * Where a stream ends and what comes next: last_of(key) → offset, n, the oldest entry's ms; next_offset(last offset);
 * id_of(offset).
 * Commands: https://valkey.io/commands/xinfo-stream/ (entries-added counts what is gone, too), /time/.
 */
export const STREAM_LUA = `
local function last_of(key)
  if redis.call('EXISTS', key) == 0 then return 0, 0 end
  local info = redis.call('XINFO', 'STREAM', key)
  local offset, n, first_ms = 0, 0
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local ms, seq = string.match(info[i + 1], '(%d+)-(%d+)')
      offset = tonumber(ms) * 1024 + tonumber(seq)
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

/**
 * store(texts, first, last, offset and n of the last entry, ms of the oldest): appends to the stream KEYS[1] what stands
 * in `texts` from `first` to `last`, tells it, forgets what is too old. Answers the first new offset.
 * ARGV: 2 the stream's channel or '', 3 field name of the body, 4 idle time after which the stream is forgotten in ms or
 *   '', 5 most entries to keep or '', 6 age after which entries may go in ms or '', 7 the catalogue's channel, 8 the
 *   catalogue's event for this topic or ''; KEYS[2] is the catalogue where 8 is given.
 * A loss (its meta begins with LOST) is not told: who follows finds the hole, and reads it.
 * Once the first event is stored, nothing that fails makes the append fail, since what is stored must not be answered as
 * refused: an ACL may forbid to PUBLISH, say. `failure` is the first such thing, and is a part of the answer.
 * Commands: https://valkey.io/commands/xadd/, /publish/, /xtrim/, /pexpire/, /pttl/.
 */
export const STORE_LUA = `
local failure

local function noted(reply)
  if type(reply) == 'table' and reply.err and not failure then failure = reply.err end
  return reply
end

local function append(key, channel, field, max_entries, texts, first, last, last_offset, last_n)
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

local function store(texts, first, last, last_offset, last_n, first_ms)
  local first_offset = append(KEYS[1], ARGV[2], ARGV[3], ARGV[5], texts, first, last, last_offset, last_n)
  if ARGV[6] ~= '' and first_ms and first_ms < now_ms - ARGV[6] then
    noted(redis.pcall('XTRIM', KEYS[1], 'MINID', '~', id_of(math.max(0, now_ms - ARGV[6]) * 1024)))
  end
  if ARGV[4] ~= '' then
    -- A tenth more, so that it is moved on seldom: each time is a command more in the log.
    local ttl = noted(redis.pcall('PTTL', KEYS[1]))
    if type(ttl) ~= 'number' or ttl < tonumber(ARGV[4]) then
      noted(redis.pcall('PEXPIRE', KEYS[1], math.floor(ARGV[4] * 1.1)))
    end
  end
  if last_n == 0 and ARGV[8] ~= '' then
    local is_listed, err = pcall(function()
      local offset, n = last_of(KEYS[2])
      append(KEYS[2], ARGV[7], 'event', '', { ARGV[8], '' }, 1, 2, offset, n)
    end)
    if not is_listed then noted(type(err) == 'table' and err or { err = tostring(err) }) end
  end
  return first_offset
end
`;

const APPEND_LUA = `
local last_offset, last_n, first_ms = last_of(KEYS[1])
if ARGV[1] ~= '' and ARGV[1] ~= string.format('%.0f %.0f', last_offset, last_n) then
  return { 0, last_offset, last_n }
end
return { 1, store(ARGV, 9, #ARGV, last_offset, last_n, first_ms), last_n + 1, failure }
`;

/**
 * Appends and tells.
 * KEYS: 1 the stream, 2 the catalogue (topics only).
 * ARGV: 1 the expected end as 'offset n' or '', 2 to 8 as in STORE_LUA; then a body and a meta text ('' for none) for
 *   each event.
 * Answers {1, first offset, first n, failure}, or {0, offset, n} of the actual end where another one was expected.
 */
export const APPEND = script('#!lua', STREAM_LUA, STORE_LUA, APPEND_LUA);

/**
 * The same for a subscription, also where the memory is full: whoever could not record what was consumed could not
 * consume either. What it takes is little, as journals are cut behind their snapshots.
 */
export const APPEND_TO_SUBSCRIPTION = script('#!lua flags=allow-oom', STREAM_LUA, STORE_LUA, APPEND_LUA);

/** What became of an item, as APPEND_ONCE answers it. */
export const ONCE_STORED = 1;
export const ONCE_DUPLICATE = 2;
export const ONCE_KEY_REUSED = 3;

/**
 * Appends what was not appended before under the same key, tells it, and remembers where it is.
 * KEYS: 1 the stream, 2 the catalogue (topics only), then the record of each item that has a key.
 * ARGV: 1 unused, 2 to 8 as in STORE_LUA, 9 '1' where a duplicate is to be synced to disk as well; then five texts for
 *   each item: body, meta, which of KEYS its record is ('' for none), fingerprint, how long it is remembered in ms.
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
local last_offset, last_n, first_ms = last_of(KEYS[1])
local first_offset = next_offset(last_offset)
local texts, records, new, answer = {}, {}, {}, { 0 }
for i = 10, #ARGV, 5 do
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
      if ARGV[9] == '1' and not new[key] then
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
  local is_stored, err = pcall(store, texts, 1, #texts, last_offset, last_n, first_ms)
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
  `
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local function offset_of(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms) * 1024 + tonumber(seq)
end
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
