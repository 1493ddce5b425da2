-- KEYS: lease (hash), fence (string). ARGV: owner, epoch, incarnation, check ('lease', or 'none' on a tick server).
-- From now on only this epoch publishes. FENCED if the lease is another's or a higher fence stands. Returns 1.
if ARGV[4] == 'lease' then
  local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'incarnation')
  if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] or lease[3] ~= ARGV[3] or incarnation() ~= ARGV[3] then
    return redis.error_reply('FENCED the lease is ' .. (lease[1] or 'nobody') .. "'s, epoch " .. (lease[2] or '0'))
  end
end
local fence = redis.call('GET', KEYS[2]) or '0'
if tonumber(fence) > tonumber(ARGV[2]) then
  return redis.error_reply('FENCED the fence stands at ' .. fence)
end
redis.call('SET', KEYS[2], ARGV[2])
return 1
