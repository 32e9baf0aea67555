/**
 * The two Lua scripts. `#!lua` makes Valkey refuse a script as a whole when it is out of memory or cannot write its
 * log, instead of in the middle: an append is stored completely or not at all.
 */
import { createHash } from 'node:crypto';

export interface Script {
  readonly source: string;
  readonly sha: string;
}

const script = (source: string): Script => ({ source, sha: createHash('sha1').update(source).digest('hex') });

/** Between the fields of a record, and between records: control characters that JSON text never contains unescaped. */
export const FIELD_SEPARATOR = '\x1f';
export const RECORD_SEPARATOR = '\x1e';

/**
 * Appends and tells.
 * KEYS: 1 the stream, 2 the catalogue (topics only).
 * ARGV: 1 expected n or '', 2 the stream's channel or '', 3 field name of the body, 4 idle time after which the stream
 *   is forgotten in ms or '', 5 most entries to keep or '', 6 age after which entries may go in ms or '', 7 the catalogue's
 *   channel, 8 the catalogue's event for this topic; then a body and a meta text ('' for none) for each event.
 * Answers {1, first offset, first n}, or {0, actual n} where `expected` was another.
 * Commands: https://valkey.io/commands/xinfo-stream/ (entries-added counts trimmed entries too), /xadd/, /xtrim/.
 */
export const APPEND = script(`#!lua
local function last_of(key)
  if redis.call('EXISTS', key) == 0 then return 0, 0 end
  local info = redis.call('XINFO', 'STREAM', key)
  local offset, n = 0, 0
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local ms, seq = string.match(info[i + 1], '(%d+)-(%d+)')
      offset = tonumber(ms) * 1024 + tonumber(seq)
    elseif info[i] == 'entries-added' then
      n = info[i + 1]
    end
  end
  return offset, n
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function id_of(offset)
  return string.format('%.0f-%.0f', math.floor(offset / 1024), offset % 1024)
end

local function append(key, channel, field, max_entries, first, last, last_offset, last_n)
  local offset = math.max(last_offset + 1, now_ms * 1024)
  local first_offset, n = offset, last_n
  local records = {}
  for i = first, last, 2 do
    local body, meta, id = ARGV[i], ARGV[i + 1], id_of(offset)
    n = n + 1
    local entry = { 'XADD', key }
    if max_entries ~= '' then
      entry[3], entry[4], entry[5] = 'MAXLEN', '~', max_entries
    end
    entry[#entry + 1] = id
    entry[#entry + 1] = 'n'
    entry[#entry + 1] = n
    entry[#entry + 1] = field
    entry[#entry + 1] = body
    if meta ~= '' then
      entry[#entry + 1] = 'meta'
      entry[#entry + 1] = meta
    end
    redis.call(unpack(entry))
    if channel ~= '' then
      records[#records + 1] = string.format('%.0f', offset) .. '\\31' .. n .. '\\31' .. meta .. '\\31' .. body
    end
    offset = offset + 1
  end
  if channel ~= '' then
    redis.call('PUBLISH', channel, table.concat(records, '\\30'))
  end
  return first_offset
end

local last_offset, last_n = last_of(KEYS[1])
if ARGV[1] ~= '' and tonumber(ARGV[1]) ~= last_n then
  return { 0, last_n }
end
local first_offset = append(KEYS[1], ARGV[2], ARGV[3], ARGV[5], 9, #ARGV, last_offset, last_n)
if ARGV[6] ~= '' then
  redis.call('XTRIM', KEYS[1], 'MINID', '~', id_of(math.max(0, now_ms - ARGV[6]) * 1024))
end
if ARGV[4] ~= '' then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if last_n == 0 and KEYS[2] then
  local offset, n = last_of(KEYS[2])
  ARGV[9], ARGV[10] = ARGV[8], ''
  append(KEYS[2], ARGV[7], 'event', '', 9, 10, offset, n)
end
return { 1, first_offset, last_n + 1 }
`);

/**
 * Both ends of the stream KEYS[1] without its payloads: {last offset, last n, first offset, first n}, where first is
 * the oldest entry, or {last offset, last n} where no entry is left; {} for a stream that does not exist.
 */
export const BOUNDS = script(`#!lua flags=no-writes
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
`);
