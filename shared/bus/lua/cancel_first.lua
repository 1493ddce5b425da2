-- KEYS: lease, fence, cursor (string), ledger (hash), orders (stream).
-- ARGV: owner, epoch, incarnation, entry of `cancel-commands` ('' leaves the cursor), seconds to keep the ledger,
--       count of legs, then per leg its number and its final event (packed).
-- Closes legs that have no result yet as refused:cancelled_first, with their events, and moves the cursor.
-- Returns rows "leg|result|client id|order id|epoch|is new (1/0)".
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local at, answer = 7, {}
for i = 1, tonumber(ARGV[6]) do
  local leg = ARGV[at]
  local event
  event, at = packed(at + 1)
  local row = redis.call('HGET', KEYS[4], leg)
  local is_new = '0'
  if not row then
    -- Order id -1 until its outcome is in `orders`: without an event the claim that may come writes it.
    row = 'refused:cancelled_first|0|' .. (#event > 0 and '0' or '-1') .. '|' .. ARGV[2]
    is_new = '1'
    redis.call('HSET', KEYS[4], leg, row)
    if #event > 0 then
      redis.call('XADD', KEYS[5], '*', unpack(event))
    end
  end
  answer[i] = leg .. '|' .. row .. '|' .. is_new
end
redis.call('EXPIRE', KEYS[4], ARGV[5])
if ARGV[4] ~= '' then
  redis.call('SET', KEYS[3], ARGV[4])
end
return answer
