-- What came of a delivery that was taken: noted if it still says what it said then.
-- KEYS: the record's deliveries, what is due of its owner, deliveries under way
-- ARGV: delivery's field, what is due, what it said, what it says now (JSON; '': it goes), when it is due again (unix s) or '' (never)
-- Returns 1, or 0 where it is gone, or was taken by another one that was faster.
redis.call('ZREM', KEYS[3], ARGV[2])
local said = redis.call('HGET', KEYS[1], ARGV[1])
if not said then redis.call('ZREM', KEYS[2], ARGV[2]) end
if said ~= ARGV[3] then return 0 end
if ARGV[4] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[4]) end
if ARGV[5] == '' then redis.call('ZREM', KEYS[2], ARGV[2]) else redis.call('ZADD', KEYS[2], ARGV[5], ARGV[2]) end
return 1
