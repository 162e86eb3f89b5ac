-- Store the outcome of a delivery that was taken, unless the delivery has changed since.
--
-- KEYS
--   deliveries   hash: "owner:delivery's id" -> JSON of each delivery of the record
--   due          sorted set: the owner's due deliveries, scored by unix time
--   under_way    sorted set: leased deliveries, scored by the unix time of the lease's end
-- ARGV[1], a JSON object
--   field    the delivery's field in the hash
--   member   the delivery in the sorted sets: "owner:delivery's id:record's id"
--   before   JSON of the delivery when it was taken
--   after    JSON of the delivery now (nil: delete the delivery)
--   again    unix time of the next attempt (nil: no further attempt)
-- Returns 1, or 0 if the delivery does not exist or another process has changed it.
local deliveries, due, under_way = unpack(KEYS)
local outcome = cjson.decode(ARGV[1])

-- 1. End the lease.
redis.call('ZREM', under_way, outcome.member)

-- 2. Compare: the delivery is the one that was taken. A delivery that was deleted is not due.
local stored = redis.call('HGET', deliveries, outcome.field)
if not stored then redis.call('ZREM', due, outcome.member) end
if stored ~= outcome.before then return 0 end

-- 3. Store the delivery, and the time of its next attempt.
if outcome.after then
  redis.call('HSET', deliveries, outcome.field, outcome.after)
else
  redis.call('HDEL', deliveries, outcome.field)
end
if outcome.again then
  redis.call('ZADD', due, outcome.again, outcome.member)
else
  redis.call('ZREM', due, outcome.member)
end
return 1
