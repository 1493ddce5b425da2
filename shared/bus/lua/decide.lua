-- KEYS: lease, fence, cursor (string), decided (string), decisions (stream), commands (stream).
-- ARGV: owner, epoch, incarnation, entry of `intents` ('' leaves the cursor), seconds to keep `decided`, incarnation the intent was made in
-- ('' when there is no command), decision (packed), command (packed, or '0').
-- Writes the one decision of an intent, its command, and moves the cursor, all or nothing. Answers STALE, and writes
-- nothing, when the command's intent was made in another incarnation.
-- Returns 1, or 0 if the intent had been decided before (then only the cursor moves).
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local function move()
  if ARGV[4] ~= '' then redis.call('SET', KEYS[3], ARGV[4]) end
end
if redis.call('EXISTS', KEYS[4]) == 1 then
  move()
  return 0
end
local decision, at = packed(7)
local command = packed(at)
if #command > 0 and ARGV[6] ~= ARGV[3] then
  return redis.error_reply('STALE the intent was made in another incarnation')
end
local id = redis.call('XADD', KEYS[5], '*', unpack(decision))
if #command > 0 then
  redis.call('XADD', KEYS[6], '*', unpack(command))
end
redis.call('SET', KEYS[4], id, 'EX', ARGV[5])
move()
return 1
