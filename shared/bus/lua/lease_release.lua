-- KEYS: lease (hash). ARGV: owner, epoch, incarnation. Gives the lease up if it is still the caller's; epoch stays.
-- Returns 1 if it was given up, else 0.
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'incarnation')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] or lease[3] ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], 'owner', '', 'counter', '0')
return 1
