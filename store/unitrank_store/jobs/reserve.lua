-- Reserve bytes for a record's result. A second call for the same record changes nothing.
-- The script raises no error, so that a forged reservation cannot keep a record from being created.
--
-- KEYS
--   reservations   hash: record's id -> bytes reserved for its result; their sum under 'all'
-- ARGV[1], a JSON object
--   id      the record's id
--   bytes   number of bytes, as text
local reservations = KEYS[1]
local record = cjson.decode(ARGV[1])
if redis.pcall('HSETNX', reservations, record.id, record.bytes) == 1 then
  redis.pcall('HINCRBY', reservations, 'all', record.bytes)
end
