-- Promise bytes to a record, once.
-- KEYS: bytes by record, with the sum of all under 'all'
-- ARGV: id, bytes
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then redis.call('HINCRBY', KEYS[1], 'all', ARGV[2]) end
