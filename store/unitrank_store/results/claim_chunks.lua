-- Claim a content in chunks for one more owner. The content expires when the last claim ends; its
-- lifetime never becomes shorter.
--
-- KEYS
--   description   hash: bytes of the content, and whether all chunks are written
--   owners        sorted set: owners, scored by the unix time when each claim ends
--   ...           strings: all chunks
-- ARGV[1], a JSON object
--   owner      the owner that claims the content
--   seconds    seconds until the claim ends
--   bytes      bytes of the content, as text
--   complete   whether all chunks are written
-- Returns 1 if all chunks are written, else 0.
local description, owners = KEYS[1], KEYS[2]
local claim = cjson.decode(ARGV[1])
local now = tonumber(redis.call('TIME')[1])

-- 1. Remove ended claims, and add this one. GT: a claim is extended, never shortened.
redis.call('ZREMRANGEBYSCORE', owners, '-inf', now)
redis.call('ZADD', owners, 'GT', now + claim.seconds, claim.owner)

-- 2. Describe the content.
redis.call('HSET', description, 'bytes', claim.bytes)
if claim.complete then redis.call('HSET', description, 'complete', '1') end

-- 3. All keys expire when the last claim ends.
local last_end = redis.call('ZREVRANGE', owners, 0, 0, 'WITHSCORES')[2]
for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, last_end) end
return redis.call('HEXISTS', description, 'complete')
