-- Add a delivery of how a record ends: due at once where the record has ended, else when it ends (change_record.lua).
-- KEYS: record, its deliveries, owners with due deliveries
-- id: the record's, owner, field and delivery: of the hash of deliveries, due: how the keys of due deliveries begin
-- Returns 1, or 0 where there is no such record.
local record, deliveries, owners_with_due = unpack(KEYS)
local new = cjson.decode(ARGV[1])
if redis.call('EXISTS', record) == 0 then return 0 end
if redis.call('HSETNX', deliveries, new.field, new.delivery) == 0 then return 1 end
-- Only records that have ended expire.
local left = redis.call('PTTL', record)
if left > 0 then
  redis.call('PEXPIRE', deliveries, left)
  redis.call('ZADD', new.due .. new.owner, 0, new.field .. ':' .. new.id)
  redis.call('ZADD', owners_with_due, 'NX', 0, new.owner)
end
return 1
