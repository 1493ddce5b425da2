-- KEYS: hash. ARGV: fields and values. Sets them without a lease; returns how many were new.
-- For hashes that are kept when the server is out of memory (`Keys.is_kept_when_full`).
return redis.call('HSET', KEYS[1], unpack(ARGV))
