-- Move a device's average towards a new measurement.
-- KEYS: hash device → work per second
-- device, rate: the measurement, weight: of the measurement, from 0 to 1
local measured = cjson.decode(ARGV[1])
local before, after = redis.call('HGET', KEYS[1], measured.device), measured.rate
if before then after = tonumber(before) + measured.weight * (after - tonumber(before)) end
redis.call('HSET', KEYS[1], measured.device, string.format('%.6g', after))
