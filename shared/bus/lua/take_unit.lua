-- KEYS: lease, fence, unit (hash). ARGV: owner, epoch, incarnation, expected owner ('' for none), expected epoch.
-- Makes the caller the unit's owner if the owner is still the expected one. Returns 1, or 0 if another has it.
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local now = redis.call('HMGET', KEYS[3], 'owner', 'epoch')
if (now[1] or '') ~= ARGV[4] or (now[2] or '0') ~= ARGV[5] then
  return 0
end
redis.call('HSET', KEYS[3], 'owner', ARGV[1], 'epoch', ARGV[2])
return 1
