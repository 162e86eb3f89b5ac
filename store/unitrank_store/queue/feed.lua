-- Move what waits into RQ's queue, an owner after the other, until the queue has an entry.
-- KEYS: RQ's queue, owners in line (scored by when they had their last turn), number of turns, the last turn
-- lines: how the keys of lines begin, priorities: the highest first
local queue, owners, turns, last_turn = unpack(KEYS)
local order = cjson.decode(ARGV[1])
while redis.call('LLEN', queue) == 0 do
  local owner, score = unpack(redis.call('ZRANGE', owners, 0, 0, 'WITHSCORES'))
  if not owner then return end
  local id, line = false, false
  for _, priority in ipairs(order.priorities) do
    if not id then
      line = order.lines .. owner .. ':' .. priority
      id = redis.call('LPOP', line)
    end
  end
  if id then
    redis.call('RPUSH', queue, id)
    redis.call('HSET', last_turn, 'id', id, 'line', line, 'owner', owner, 'score', score)
    redis.call('ZADD', owners, redis.call('INCR', turns) * 1000000, owner)
  else
    redis.call('ZREM', owners, owner)
  end
end
