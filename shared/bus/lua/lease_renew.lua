-- KEYS: lease (hash). ARGV: owner, epoch, incarnation. Returns the new counter; FENCED if the lease is another's.
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'incarnation')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] or lease[3] ~= ARGV[3] then
  return redis.error_reply('FENCED the lease is ' .. (lease[1] or 'nobody') .. "'s, epoch " .. (lease[2] or '0'))
end
if incarnation() ~= ARGV[3] then
  return redis.error_reply('FENCED the server is another incarnation')
end
return redis.call('HINCRBY', KEYS[1], 'counter', 1)
