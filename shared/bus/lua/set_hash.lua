-- KEYS: hash. ARGV: fields and values. Sets them without a lease; returns how many were new.
-- For `halt` and `paused` only: the halt state is kept when the server is out of memory.
return redis.call('HSET', KEYS[1], unpack(ARGV))
