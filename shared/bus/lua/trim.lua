-- KEYS: stream, its `:trimmed` key (string). ARGV: the first id to keep.
-- Deletes older entries and remembers the last one deleted, so that a reader behind it knows of its gap.
-- Returns how many were deleted.
local last = redis.call('XREVRANGE', KEYS[1], '(' .. ARGV[1], '-', 'COUNT', 1)
if #last == 0 then return 0 end
redis.call('SET', KEYS[2], last[1][1])
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
