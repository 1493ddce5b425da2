-- KEYS: lease, fence, then one stream per entry. ARGV: owner, epoch, incarnation, then one packed entry per stream.
-- Appends all entries or none, in order. Returns their ids.
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local ids, at, entry = {}, 4, nil
for i = 3, #KEYS do
  entry, at = packed(at)
  ids[i - 2] = redis.call('XADD', KEYS[i], '*', unpack(entry))
end
return ids
