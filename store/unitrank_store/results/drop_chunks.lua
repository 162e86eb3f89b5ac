-- An owner no longer needs a content in chunks; the content goes with its last owner.
-- KEYS: description, owners, every chunk
-- owner
local owners = KEYS[2]
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREM', owners, cjson.decode(ARGV[1]).owner)
redis.call('ZREMRANGEBYSCORE', owners, '-inf', now)
if redis.call('ZCARD', owners) == 0 then redis.call('UNLINK', unpack(KEYS)) end
