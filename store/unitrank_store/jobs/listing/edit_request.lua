-- Replace parts of a record's request, if the request is still the one that the caller read
-- (compare-and-set). A record that does not exist is not created.
--
-- KEYS
--   record   hash: the record
-- ARGV[1], a JSON object
--   request   SHA-1 of the request that the caller read
--   fields    the record's fields to set
-- Returns 1 after the change, 0 if the request is another one, and -1 if there is no record.
local record = KEYS[1]
local edit = cjson.decode(ARGV[1])
local request = redis.call('HGET', record, 'request')
if not request then return -1 end
if redis.sha1hex(request) ~= edit.request then return 0 end
for field, value in pairs(edit.fields) do redis.call('HSET', record, field, value) end
redis.call('HINCRBY', record, 'version', 1)
return 1
