-- Count a part, and let the oldest ones go as long as all together take more than they may.
-- KEYS: ids by the unix time of their arrival, hash id → bytes with the sum under ''
-- prefix: how the keys of parts begin, piece and head: bytes of a piece and of the head, limit: bytes that all parts may take,
-- now and expired: unix times, id (nil: none comes), bytes: of the part that comes
-- Returns the bytes of all parts.
local ages, sizes = KEYS[1], KEYS[2]
local part = cjson.decode(ARGV[1])

local function forget(id)
  local size = tonumber(redis.call('HGET', sizes, id) or '0')
  redis.call('ZREM', ages, id)
  redis.call('HDEL', sizes, id)
  redis.call('UNLINK', part.prefix .. id)
  for piece = 0, math.ceil((size - part.head) / part.piece) - 1 do redis.call('UNLINK', part.prefix .. id .. ':' .. piece) end
  return redis.call('HINCRBY', sizes, '', -size)
end

local total = tonumber(redis.call('HGET', sizes, '') or '0')
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ages, '-inf', part.expired, 'LIMIT', 0, 1000)) do total = forget(id) end
if part.id and redis.call('HEXISTS', sizes, part.id) == 1 then total = forget(part.id) end
while total + part.bytes > part.limit do
  local oldest = redis.call('ZRANGE', ages, 0, 0)[1]
  if not oldest then break end
  total = forget(oldest)
end
if part.id then
  redis.call('ZADD', ages, part.now, part.id)
  redis.call('HSET', sizes, part.id, part.bytes)
  total = redis.call('HINCRBY', sizes, '', part.bytes)
end
return total
