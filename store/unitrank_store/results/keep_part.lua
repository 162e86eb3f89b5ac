-- Count a part, and let the oldest ones go as long as all together take more than they may.
-- KEYS: ids by the unix time of their arrival, hash id → bytes with the sum under ''
-- ARGV: prefix of the keys of parts, bytes of a piece, bytes in the head, bytes that all parts may take,
--       unix time before which parts have expired, id or '' (none comes), its bytes, now
-- Returns the bytes of all parts.
local ages, sizes, prefix = KEYS[1], KEYS[2], ARGV[1]

local function forget(id)
  local size = tonumber(redis.call('HGET', sizes, id) or '0')
  redis.call('ZREM', ages, id)
  redis.call('HDEL', sizes, id)
  redis.call('UNLINK', prefix .. id)
  for piece = 0, math.ceil((size - tonumber(ARGV[3])) / tonumber(ARGV[2])) - 1 do
    redis.call('UNLINK', prefix .. id .. ':' .. piece)
  end
  return redis.call('HINCRBY', sizes, '', -size)
end

local total = tonumber(redis.call('HGET', sizes, '') or '0')
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ages, '-inf', ARGV[5], 'LIMIT', 0, 1000)) do total = forget(id) end
if ARGV[6] ~= '' and redis.call('HEXISTS', sizes, ARGV[6]) == 1 then total = forget(ARGV[6]) end
while total + tonumber(ARGV[7]) > tonumber(ARGV[4]) do
  local oldest = redis.call('ZRANGE', ages, 0, 0)[1]
  if not oldest then break end
  total = forget(oldest)
end
if ARGV[6] ~= '' then
  redis.call('ZADD', ages, ARGV[8], ARGV[6])
  redis.call('HSET', sizes, ARGV[6], ARGV[7])
  total = redis.call('HINCRBY', sizes, '', ARGV[7])
end
return total
