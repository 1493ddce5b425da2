-- KEYS: lease, fence, unit (hash). ARGV: owner, epoch, incarnation.
-- Gives the unit up if it is the caller's, so that the next worker need not wait. Returns 1, or 0 if it is another's.
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local now = redis.call('HMGET', KEYS[3], 'owner', 'epoch')
if now[1] ~= ARGV[1] or now[2] ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[3], 'owner', '', 'epoch', '0')
return 1
