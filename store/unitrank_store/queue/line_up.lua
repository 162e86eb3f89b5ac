-- One more waits. An owner who had nothing waiting comes after those that wait already, and before the one who had the last turn.
-- What has had its turn, and was taken by no worker yet, first goes back to where it stood: the new one may come before it.
-- KEYS: RQ's queue, the owners, the number of turns, whose turn it was last, the number of those that came, what waits of this
--       owner with this priority
-- ARGV: owner, id
local last = redis.call('HMGET', KEYS[4], 'id', 'line', 'owner', 'score')
if last[1] and redis.call('LREM', KEYS[1], 0, last[1]) > 0 then
  redis.call('LPUSH', last[2], last[1])
  redis.call('ZADD', KEYS[2], last[4], last[3])
  redis.call('DECR', KEYS[3])
  redis.call('DEL', KEYS[4])
end
redis.call('RPUSH', KEYS[6], ARGV[2])
-- Between two turns is room for a million that come.
local turn, came = tonumber(redis.call('GET', KEYS[3]) or '0'), redis.call('INCR', KEYS[5]) % 1000000
redis.call('ZADD', KEYS[2], 'NX', (turn - 1) * 1000000 + came, ARGV[1])
