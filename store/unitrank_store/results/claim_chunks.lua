-- Keep a content in chunks for one more owner, as long as its longest owner says; its lifetime never gets shorter.
-- KEYS: description, owners, every chunk
-- owner, seconds, bytes: as text, complete: whether all chunks are written
-- Returns 1 where all chunks are there.
local description, owners = KEYS[1], KEYS[2]
local claim = cjson.decode(ARGV[1])
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', owners, '-inf', now)
redis.call('ZADD', owners, 'GT', now + claim.seconds, claim.owner)
redis.call('HSET', description, 'bytes', claim.bytes)
if claim.complete then redis.call('HSET', description, 'complete', '1') end

local last = redis.call('ZREVRANGE', owners, 0, 0, 'WITHSCORES')[2]
for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, last) end
return redis.call('HEXISTS', description, 'complete')
