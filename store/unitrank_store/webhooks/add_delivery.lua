-- A delivery of how a record ends: due at once where it has ended, else when it does (change_record.lua).
-- KEYS: record, its deliveries, owners with something due
-- ARGV: delivery's field, delivery (JSON), record's id, owner, prefix of the keys of what is due
-- Returns 1, or 0 where there is no such record.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then return 1 end
-- Only what has ended goes by itself.
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('PEXPIRE', KEYS[2], left)
  redis.call('ZADD', ARGV[5] .. ARGV[4], 0, ARGV[1] .. ':' .. ARGV[3])
  redis.call('ZADD', KEYS[3], 'NX', 0, ARGV[4])
end
return 1
