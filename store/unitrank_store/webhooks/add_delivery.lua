-- Add a webhook delivery to a record. The delivery becomes due when the record ends (see
-- change_record.lua), or at once if the record has already ended. A second call changes nothing.
--
-- KEYS
--   record            hash: the record
--   deliveries        hash: "owner:delivery's id" -> JSON of each delivery of the record
--   owners_with_due   sorted set: owners that have due deliveries, scored by their last turn
-- ARGV[1], a JSON object
--   id         the record's id
--   owner      owner of the delivery
--   field      the delivery's field in the hash: "owner:delivery's id"
--   delivery   JSON of the delivery
--   due        beginning of the keys of owners' due deliveries
-- Returns 1, or 0 if the record does not exist.
local record, deliveries, owners_with_due = unpack(KEYS)
local added = cjson.decode(ARGV[1])

-- 1. Store the delivery.
if redis.call('EXISTS', record) == 0 then return 0 end
if redis.call('HSETNX', deliveries, added.field, added.delivery) == 0 then return 1 end

-- 2. A record has an expiry only after its end: then the delivery is due now, and expires with it.
local milliseconds = redis.call('PTTL', record)
if milliseconds > 0 then
  redis.call('PEXPIRE', deliveries, milliseconds)
  redis.call('ZADD', added.due .. added.owner, 0, added.field .. ':' .. added.id)
  redis.call('ZADD', owners_with_due, 'NX', 0, added.owner)
end
return 1
