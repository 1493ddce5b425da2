-- KEYS: lease, fence, then one tick stream per batch. ARGV: owner, epoch, incarnation, longest stream (entries),
-- check ('lease', or 'fence' on a tick server that holds no leases), then one packed entry per stream.
-- Appends all batches or none and trims each stream to about its longest length. Returns how many.
if ARGV[5] == 'lease' then
  local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
  if stop then return redis.error_reply(stop) end
elseif redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return redis.error_reply('FENCED the fence is another epoch')
end
local at, entry = 6, nil
for i = 3, #KEYS do
  entry, at = packed(at)
  redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[4], '*', unpack(entry))
end
return #KEYS - 2
