-- Move a device's moving average towards a new measurement.
--
-- KEYS
--   throughput   hash: device -> operations per second, as a moving average
-- ARGV[1], a JSON object
--   device   the device's name
--   rate     the measurement, in operations per second
--   weight   weight of the measurement, from 0 to 1; the average so far has the rest
local throughput = KEYS[1]
local measured = cjson.decode(ARGV[1])
local average = measured.rate
local before = redis.call('HGET', throughput, measured.device)
if before then average = tonumber(before) + measured.weight * (measured.rate - tonumber(before)) end
redis.call('HSET', throughput, measured.device, string.format('%.6g', average))
