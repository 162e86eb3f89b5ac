-- Keep a content in chunks for one more owner, as long as its longest owner says; its lifetime never gets shorter.
-- KEYS: description, owners, every chunk
-- ARGV: owner, seconds, size in bytes, '1' once all chunks are written
-- Returns 1 where all chunks are there.
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], 'GT', now + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[1], 'bytes', ARGV[3])
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'complete', '1') end

local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, last) end
return redis.call('HEXISTS', KEYS[1], 'complete')
