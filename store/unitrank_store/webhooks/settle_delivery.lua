-- Note what came of a delivery that was taken, unless another process changed the delivery meanwhile.
-- KEYS: the record's deliveries, due deliveries of its owner, deliveries under way
-- field: of the delivery, member: of the due deliveries, before: the delivery as it was when taken,
-- after: the delivery now (nil: it goes), again: when it is due again, in unix seconds (nil: never)
-- Returns 1, or 0 where it is gone, or another process was faster.
local deliveries, due, under_way = unpack(KEYS)
local attempt = cjson.decode(ARGV[1])
redis.call('ZREM', under_way, attempt.member)
local stored = redis.call('HGET', deliveries, attempt.field)
if not stored then redis.call('ZREM', due, attempt.member) end
if stored ~= attempt.before then return 0 end
if attempt.after then redis.call('HSET', deliveries, attempt.field, attempt.after) else redis.call('HDEL', deliveries, attempt.field) end
if attempt.again then redis.call('ZADD', due, attempt.again, attempt.member) else redis.call('ZREM', due, attempt.member) end
return 1
