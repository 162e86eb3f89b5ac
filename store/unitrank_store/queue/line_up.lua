-- One more waits. An owner who had nothing waiting comes after those that wait already, and before the one who had the last turn.
-- The entry that had the last turn, and that no worker has taken yet, first goes back to its line: the new one may come before it.
-- KEYS: RQ's queue, owners in line, number of turns, the last turn, number of arrivals, the line of this owner and priority
-- owner, id
local queue, owners, turns, last_turn, arrivals, line = unpack(KEYS)
local waiting = cjson.decode(ARGV[1])
local last = redis.call('HMGET', last_turn, 'id', 'line', 'owner', 'score')
if last[1] and redis.call('LREM', queue, 0, last[1]) > 0 then
  redis.call('LPUSH', last[2], last[1])
  redis.call('ZADD', owners, last[4], last[3])
  redis.call('DECR', turns)
  redis.call('DEL', last_turn)
end
redis.call('RPUSH', line, waiting.id)
-- Between two turns is room for a million arrivals.
local turn, arrival = tonumber(redis.call('GET', turns) or '0'), redis.call('INCR', arrivals) % 1000000
redis.call('ZADD', owners, 'NX', (turn - 1) * 1000000 + arrival, waiting.owner)
