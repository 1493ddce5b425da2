-- KEYS: lease, fence, fills (stream), then one index (string) per entry.
-- ARGV: owner, epoch, incarnation, seconds to keep the index, then per entry its revision and the entry (packed).
-- Appends each execution whose revision is higher than the one in its index. Returns 1 per new entry, else 0.
local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if stop then return redis.error_reply(stop) end
local at, answer = 5, {}
for i = 4, #KEYS do
  local revision = ARGV[at]
  local entry
  entry, at = packed(at + 1)
  local known = redis.call('GET', KEYS[i])
  if known and tonumber(known) >= tonumber(revision) then
    answer[i - 3] = 0
  else
    redis.call('XADD', KEYS[3], '*', unpack(entry))
    redis.call('SET', KEYS[i], revision, 'EX', ARGV[4])
    answer[i - 3] = 1
  end
end
return answer
