-- KEYS: lease (hash), fence (string). ARGV: owner, seen owner, seen epoch, seen incarnation, seen counter, least epoch.
-- Replaces the lease if it still holds what the candidate saw for a whole lease time on its own clock.
-- Returns {epoch, incarnation}, or false when the lease had changed. Atomic: compare and set.
local now = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'incarnation', 'counter')
for i, absent in ipairs({'', '0', '', '0'}) do
  if (now[i] or absent) ~= ARGV[1 + i] then
    return false
  end
end
local highest = tonumber(ARGV[6])
for _, other in ipairs({now[2] or '0', redis.call('GET', KEYS[2]) or '0'}) do
  highest = math.max(highest, tonumber(other))
end
local epoch = string.format('%.0f', highest + 1)
local here = incarnation()
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', epoch, 'incarnation', here, 'counter', '1')
return {epoch, here}
