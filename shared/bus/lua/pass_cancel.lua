-- KEYS: lease, fence, cursor (string), stream. ARGV: owner, epoch, incarnation, entry ('' leaves the cursor), message (packed, or '0').
-- Appends the message, if any, and moves the cursor. Serves `cancels` and every entry that is only skipped. Returns 1.
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local message = packed(5)
if #message > 0 then
  redis.call('XADD', KEYS[4], '*', unpack(message))
end
if ARGV[4] ~= '' then
  redis.call('SET', KEYS[3], ARGV[4])
end
return 1
