-- The next delivery that is due: owners take turns, and none has more than so many under way. Whoever takes it has it
-- for a while; if nothing is heard of it by then, another one takes it.
-- KEYS: owners with something due, deliveries under way
-- ARGV: prefix of the keys of what is due, now, until when it is taken (unix s), most of one owner
-- Returns what is due, or nothing.
-- This goes first, also because a server whose memory is full refuses a script's first write unless it frees some.
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[2])
local busy = {}
for _, taken in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local owner = string.match(taken, '^[^:]*')
  busy[owner] = (busy[owner] or 0) + 1
end
for _, owner in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local due = ARGV[1] .. owner
  if redis.call('EXISTS', due) == 0 then
    redis.call('ZREM', KEYS[1], owner)
  elseif (busy[owner] or 0) < tonumber(ARGV[4]) then
    local first = redis.call('ZRANGEBYSCORE', due, '-inf', ARGV[2], 'LIMIT', 0, 1)[1]
    if first then
      redis.call('ZADD', due, ARGV[3], first)
      redis.call('ZADD', KEYS[2], ARGV[3], first)
      redis.call('ZADD', KEYS[1], ARGV[2], owner)
      return first
    end
  end
end
return false
