-- KEYS: stream. ARGV: one packed entry. Appends it without a lease and returns its id.
-- For `control` and `cancels` only: a person's halt and cancels pass when the server is out of memory.
local entry = packed(1)
return redis.call('XADD', KEYS[1], '*', unpack(entry))
