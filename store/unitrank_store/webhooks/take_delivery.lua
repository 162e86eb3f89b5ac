-- Take the next delivery that is due: owners take turns, and none has more than `most` under way. The process that takes a
-- delivery has it until a time; if it has not settled it by then, another process takes it.
-- KEYS: owners with due deliveries, deliveries under way
-- due: how the keys of due deliveries begin, now and lease_end: unix times, most: deliveries of one owner under way
-- Returns the delivery, or nothing.
local owners_with_due, under_way = unpack(KEYS)
local asked = cjson.decode(ARGV[1])
-- This goes first, also because a server whose memory is full refuses a script's first write unless it frees some.
redis.call('ZREMRANGEBYSCORE', under_way, '-inf', asked.now)
local busy = {}
for _, taken in ipairs(redis.call('ZRANGE', under_way, 0, -1)) do
  local owner = string.match(taken, '^[^:]*')
  busy[owner] = (busy[owner] or 0) + 1
end
for _, owner in ipairs(redis.call('ZRANGE', owners_with_due, 0, -1)) do
  local due = asked.due .. owner
  if redis.call('EXISTS', due) == 0 then
    redis.call('ZREM', owners_with_due, owner)
  elseif (busy[owner] or 0) < asked.most then
    local first = redis.call('ZRANGEBYSCORE', due, '-inf', asked.now, 'LIMIT', 0, 1)[1]
    if first then
      redis.call('ZADD', due, asked.lease_end, first)
      redis.call('ZADD', under_way, asked.lease_end, first)
      redis.call('ZADD', owners_with_due, asked.now, owner)
      return first
    end
  end
end
return false
