-- An owner no longer needs a content in chunks; the content goes with its last one.
-- KEYS: description, owners, every chunk
-- ARGV: owner
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) == 0 then redis.call('UNLINK', unpack(KEYS)) end
