-- End an owner's claim on a content in chunks. Without any claim left, the content is deleted.
--
-- KEYS
--   description   hash: bytes of the content, and whether all chunks are written
--   owners        sorted set: owners, scored by the unix time when each claim ends
--   ...           strings: all chunks
-- ARGV[1], a JSON object
--   owner   the owner that no longer needs the content
local owners = KEYS[2]
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREM', owners, cjson.decode(ARGV[1]).owner)
redis.call('ZREMRANGEBYSCORE', owners, '-inf', now)
if redis.call('ZCARD', owners) == 0 then redis.call('UNLINK', unpack(KEYS)) end
