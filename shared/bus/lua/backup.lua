-- KEYS: none: declared keys count as written to, and who takes a backup may only read.
-- ARGV: the keys to read. They are of the order flow's server, which is never a Cluster.
-- Returns what they hold, all of one moment, as DUMP writes it: in the order of ARGV, pairs flattened: remaining life
-- in ms (-1 for ever, -2 missing), content ('' if missing).
local found = {}
for _, key in ipairs(ARGV) do
  found[#found + 1] = redis.call('PTTL', key)
  found[#found + 1] = redis.call('DUMP', key) or ''
end
return found
