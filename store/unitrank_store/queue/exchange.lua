-- Exchange an id that a worker has taken for a later id of the same line. The taken id returns to
-- the head of its line. Its owner's turn stays used, so that other owners wait no longer.
--
-- KEYS
--   taken       list: ids that workers have taken and not started (RQ's intermediate queue)
--   line        list: the line of both ids
--   overtaken   hash: how many later ids of its line have overtaken an id
-- ARGV[1], a JSON object
--   id      the id that was taken
--   other   the id to take instead
--   most    number of later ids that may overtake an id
-- Returns 1, or 0 if nothing was changed: the other id no longer waits, or may not overtake.
local taken, line, overtaken = unpack(KEYS)
local exchange = cjson.decode(ARGV[1])

-- 1. Find the ids that the other id overtakes.
local position = redis.call('LPOS', line, exchange.other)
if not position then return 0 end
local before = position > 0 and redis.call('LRANGE', line, 0, position - 1) or {}
table.insert(before, exchange.id)
for _, id in ipairs(before) do
  if tonumber(redis.call('HGET', overtaken, id) or '0') >= exchange.most then return 0 end
end

-- 2. Exchange the ids.
for _, id in ipairs(before) do redis.call('HINCRBY', overtaken, id, 1) end
redis.call('LREM', line, 1, exchange.other)
redis.call('LPUSH', line, exchange.id)
redis.call('LREM', taken, 1, exchange.id)
redis.call('LPUSH', taken, exchange.other)
return 1
