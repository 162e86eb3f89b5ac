-- Promise bytes to a record, once. What somebody else wrote there keeps no record from being made.
-- KEYS: bytes by record, with the sum of all under 'all'
-- ARGV: id, bytes
if redis.pcall('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then redis.pcall('HINCRBY', KEYS[1], 'all', ARGV[2]) end
