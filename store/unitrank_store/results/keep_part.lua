-- Count a new part of a result, and delete the oldest parts until all parts fit into the limit.
-- Without an id, no part is added: the script only deletes.
--
-- KEYS
--   ages    sorted set: ids of all parts, scored by the unix time when they were written
--   sizes   hash: id -> bytes of each part; their sum under ''
-- ARGV[1], a JSON object
--   prefix    beginning of the keys of all parts
--   piece     bytes of each piece of a part (all pieces but the last are this long)
--   head      bytes of a part that are stored with its digest, before the pieces
--   limit     maximum bytes of all parts together
--   now       unix time
--   expired   unix time: parts that were written before have expired
--   id        the new part's id (nil: no new part)
--   bytes     bytes that the new part counts for (0: no new part)
-- Returns the bytes of all parts.
local ages, sizes = KEYS[1], KEYS[2]
local part = cjson.decode(ARGV[1])

-- Delete a part with all its pieces, and return the bytes of the remaining parts.
local function delete(id)
  local size = tonumber(redis.call('HGET', sizes, id) or '0')
  redis.call('ZREM', ages, id)
  redis.call('HDEL', sizes, id)
  redis.call('UNLINK', part.prefix .. id)
  local pieces = math.ceil((size - part.head) / part.piece)
  for index = 0, pieces - 1 do redis.call('UNLINK', part.prefix .. id .. ':' .. index) end
  return redis.call('HINCRBY', sizes, '', -size)
end

-- 1. Delete parts that have expired, and an earlier part with the same id.
local total = tonumber(redis.call('HGET', sizes, '') or '0')
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ages, '-inf', part.expired, 'LIMIT', 0, 1000)) do total = delete(id) end
if part.id and redis.call('HEXISTS', sizes, part.id) == 1 then total = delete(part.id) end

-- 2. Delete the oldest parts until the new one fits.
while total + part.bytes > part.limit do
  local oldest = redis.call('ZRANGE', ages, 0, 0)[1]
  if not oldest then break end
  total = delete(oldest)
end

-- 3. Count the new part.
if part.id then
  redis.call('ZADD', ages, part.now, part.id)
  redis.call('HSET', sizes, part.id, part.bytes)
  total = redis.call('HINCRBY', sizes, '', part.bytes)
end
return total
