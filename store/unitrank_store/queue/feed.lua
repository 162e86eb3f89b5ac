-- Move what waits into RQ's queue, an owner after the other, until that has something.
-- KEYS: RQ's queue, the owners that have something waiting (scored by when they had their last turn), the number of turns,
--       whose turn it was last, the number of those that came
-- ARGV: prefix of the keys of what waits, priorities, the highest first
while redis.call('LLEN', KEYS[1]) == 0 do
  local owner, score = unpack(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES'))
  if not owner then return end
  local id, line = false, false
  for index = 2, #ARGV do
    if not id then
      line = ARGV[1] .. owner .. ':' .. ARGV[index]
      id = redis.call('LPOP', line)
    end
  end
  if id then
    redis.call('RPUSH', KEYS[1], id)
    redis.call('HSET', KEYS[4], 'id', id, 'line', line, 'owner', owner, 'score', score)
    redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]) * 1000000, owner)
  else
    redis.call('ZREM', KEYS[2], owner)
  end
end
