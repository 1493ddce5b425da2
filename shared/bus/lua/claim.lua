-- KEYS: lease, fence, cursor (string), ledger (hash leg -> "result|client id|order id|epoch"), halt (hash),
--       order ids (hash client id -> highest), orders (stream). It reads `control` too, whose name is made of that of
--       `halt`: a key that is named to a script must be open for writing, and a users.acl of an older release lets the
--       gateway only read it.
-- ARGV: owner, epoch, incarnation, entry of `commands` ('' leaves the cursor), seconds to keep the ledger, legs, client id, is reducing (1/0),
--       incarnation the command was made in, is expired (1), in a window of the broker (2) or in time (0), mark,
--       strategy, conId, the legs' order ids, then seven times the legs' events (packed): claimed, refused:halted,
--       refused:expired, refused:cancelled_first, refused:stale, refused:window, refused:scope_halted ('0': none);
--       with a mark those of `claimed` alone.
-- One final result per intent and leg: rows that exist are returned as they are; else all legs get the same result, with
-- their order events in the same script. Returns rows "leg|result|client id|order id|epoch|is new (1/0)".
-- With a mark, which is kept in the ledger's field `mark` for who could not hear the answer, it claims every leg anew or
-- writes none and returns {}.
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
-- The latch that a waiting act of control sets, as shared/bus/latches.py has it: 'account', a field of the halt hash, or
-- nil. Names and values are searched for as msgpack has them, a length of less than 128 before each: no text can hold
-- these bytes, since they are no UTF-8. A longer scope counts as the account, and an entry without a body for a halt, as
-- the leader will take it.
local function latch_of(fields)
  local body
  for at = 1, #fields, 2 do
    if fields[at] == 'body' then body = fields[at + 1] end
  end
  if not body then return 'account' end
  local is_pause = string.find(body, '\166action\174pause_strategy', 1, true)
  if not (is_pause or string.find(body, '\166action\164halt', 1, true)
    or string.find(body, '\166action\167flatten', 1, true)) then return nil end
  local scope = 'account'
  local first, last, short = string.find(body, '\165scope([\160-\191])')
  if first then
    scope = string.sub(body, last + 1, last + string.byte(short) - 160)
  else
    first, last, short = string.find(body, '\165scope\217([%z\1-\127])')
    if first then scope = string.sub(body, last + 1, last + string.byte(short)) end
  end
  if is_pause then
    return 'pause:strategy:' .. (string.match(scope, '^[^:]*:(.+)$') or string.match(scope, '^[^:]*'))
  end
  return scope == 'account' and scope or 'halt:' .. scope
end
local function is_later(one, other)
  local ms, seq = string.match(one, '^(%d+)%-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)%-(%d+)$')
  ms, seq, other_ms, other_seq = tonumber(ms), tonumber(seq), tonumber(other_ms), tonumber(other_seq)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end
-- A halt counts from the moment its entry is in `control`: what the leader has not read yet (after `cursor` of the halt
-- hash) is looked at here, all of it. `looked` of that hash is how far claims have come and found no halt of the account,
-- and `waits:<latch>` the last entry before it that sets another latch: however much waits there, each entry is looked
-- at once. A resume that waits there opens nothing yet.
-- Returns 'account' if all trading is halted, 'scope' if the order's strategy or contract is, else nil.
local function held()
  local mine = {'halt:strategy:' .. ARGV[12], 'halt:contract:' .. ARGV[13], 'pause:strategy:' .. ARGV[12]}
  local known = redis.call('HMGET', KEYS[5], 'stage', 'cursor', 'looked', mine[1], mine[2], mine[3],
    'waits:' .. mine[1], 'waits:' .. mine[2], 'waits:' .. mine[3])
  if known[1] ~= 'none' then return 'account' end
  local from, answer = known[2], nil
  for number = 4, 9 do
    local value = known[number]
    if value and value ~= '' and (number < 7 or not from or is_later(value, from)) then answer = 'scope' end
  end
  if not from then return answer end
  if known[3] and is_later(known[3], from) then from = known[3] end
  local control_key = string.gsub(KEYS[5], 'halt$', 'control')
  local at, notes = from, {}
  repeat
    local page = redis.call('XRANGE', control_key, '(' .. at, '+', 'COUNT', 100)
    for _, entry in ipairs(page) do
      local latch = latch_of(entry[2])
      if latch == 'account' then
        answer = latch
        break
      elseif latch then
        notes[latch] = entry[1]
        if latch == mine[1] or latch == mine[2] or latch == mine[3] then answer = 'scope' end
      end
      at = entry[1]
    end
  until answer == 'account' or #page < 100
  for latch, entry in pairs(notes) do
    redis.call('HSET', KEYS[5], 'waits:' .. latch, entry)
  end
  if at ~= from then redis.call('HSET', KEYS[5], 'looked', at) end
  return answer
end
local legs = tonumber(ARGV[6])
local rows, is_open = {}, true
for leg = 0, legs - 1 do
  local row = redis.call('HGET', KEYS[4], tostring(leg))
  if row then is_open = false end
  rows[leg + 1] = row
end
local chosen = 1
if ARGV[9] ~= ARGV[3] then
  chosen = 5
elseif ARGV[10] == '1' then
  chosen = 3
elseif ARGV[8] ~= '1' and ARGV[10] == '2' then
  chosen = 6
elseif ARGV[8] ~= '1' then
  chosen = ({account = 2, scope = 7})[held()] or 1
end
if not is_open then
  -- Some leg had been closed by a cancel before: the others must not go out alone.
  chosen = 4
end
local events, at = {}, 14 + legs
if ARGV[11] ~= '' then
  if chosen ~= 1 then return {} end
  redis.call('HSET', KEYS[4], 'mark', ARGV[11])
end
for number = 1, ARGV[11] ~= '' and 1 or 7 do
  events[number] = {}
  for leg = 1, legs do
    events[number][leg], at = packed(at)
  end
end
if ARGV[4] ~= '' then
  redis.call('SET', KEYS[3], ARGV[4])
end
local results = {'claimed', 'refused:halted', 'refused:expired', 'refused:cancelled_first', 'refused:stale', 'refused:window',
  'refused:scope_halted'}
local answer = {}
for leg = 0, legs - 1 do
  local event = events[chosen][leg + 1]
  if rows[leg + 1] then
    if #event > 0 and string.find(rows[leg + 1], '|0|-1|', 1, true) then
      -- A cancel closed it when its terms were not known: its outcome is written by the claim that knows them.
      rows[leg + 1] = string.gsub(rows[leg + 1], '|0|%-1|', '|0|0|')
      redis.call('HSET', KEYS[4], tostring(leg), rows[leg + 1])
      redis.call('XADD', KEYS[7], '*', unpack(event))
    end
    answer[leg + 1] = leg .. '|' .. rows[leg + 1] .. '|0'
  else
    local is_claimed = chosen == 1
    local order_id = is_claimed and ARGV[14 + leg] or '0'
    local client = is_claimed and ARGV[7] or '0'
    local row = results[chosen] .. '|' .. client .. '|' .. order_id .. '|' .. ARGV[2]
    redis.call('HSET', KEYS[4], tostring(leg), row)
    if is_claimed then
      local highest = tonumber(redis.call('HGET', KEYS[6], ARGV[7]) or '0')
      if tonumber(order_id) > highest then
        redis.call('HSET', KEYS[6], ARGV[7], order_id)
      end
    end
    if #event > 0 then
      redis.call('XADD', KEYS[7], '*', unpack(event))
    end
    answer[leg + 1] = leg .. '|' .. row .. '|1'
  end
end
redis.call('EXPIRE', KEYS[4], ARGV[5])
return answer
