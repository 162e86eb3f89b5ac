-- Reserve bytes for a record, once. A forged reservation keeps no record from being created.
-- KEYS: bytes by record, with the sum of all under 'all'
-- id, bytes: as text
local record = cjson.decode(ARGV[1])
if redis.pcall('HSETNX', KEYS[1], record.id, record.bytes) == 1 then redis.pcall('HINCRBY', KEYS[1], 'all', record.bytes) end
