-- KEYS: lease, fence, unit (hash), intents (stream), cancels (stream).
-- ARGV: owner, epoch, incarnation, commit, state, timers, past ('': as it was), count of cursors, then per cursor stream and entry id,
--       count of intents and the intents (packed), count of cancels and the cancels (packed).
-- Saves state, cursors and timers and appends the intents together, once per commit number, only for the unit's owner.
-- Returns 1, or 0 if this very commit had been saved before (a retry after a lost reply).
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local now = redis.call('HMGET', KEYS[3], 'owner', 'epoch', 'commit')
if now[1] ~= ARGV[1] or now[2] ~= ARGV[2] then
  return redis.error_reply('FENCED the unit is ' .. (now[1] or 'nobody') .. "'s")
end
local done = tonumber(now[3] or '0')
local commit = tonumber(ARGV[4])
if commit == done then
  return 0
end
if commit ~= done + 1 then
  return redis.error_reply('FENCED commit ' .. ARGV[4] .. ' does not follow ' .. tostring(done))
end
redis.call('HSET', KEYS[3], 'commit', ARGV[4], 'state', ARGV[5], 'timers', ARGV[6])
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[3], 'past', ARGV[7])
end
local at = 9
for _ = 1, tonumber(ARGV[8]) do
  redis.call('HSET', KEYS[3], 'cursor:' .. ARGV[at], ARGV[at + 1])
  at = at + 2
end
for stream = 4, 5 do
  local count = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, count do
    local entry
    entry, at = packed(at)
    redis.call('XADD', KEYS[stream], '*', unpack(entry))
  end
end
return 1
