-- A model or a dataset is ready: release the records that wait for it.
-- A record that waits for nothing else gets an empty `waiting_for` and a new version.
--
-- KEYS
--   waiting   set: ids of the records that wait for this content
-- ARGV[1], a JSON object
--   prefixes   beginnings of keys: record (a record), waiting (ids that wait, by content)
-- Returns the ids of all records that waited for this content.
local waiting = KEYS[1]
local prefixes = cjson.decode(ARGV[1]).prefixes

-- 1. Empty the set of ids that wait for this content.
local ids = redis.call('SMEMBERS', waiting)
redis.call('DEL', waiting)

for _, id in ipairs(ids) do
  -- 2. Count the contents that the record still waits for: those whose set has its id.
  local record = prefixes.record .. id
  local waiting_for = redis.call('HGET', record, 'waiting_for')
  local missing = 0
  for _, content in ipairs(cjson.decode(waiting_for or '[]')) do
    missing = missing + redis.call('SISMEMBER', prefixes.waiting .. content, id)
  end

  -- 3. Mark a record whose contents are all ready.
  if waiting_for and missing == 0 then
    redis.call('HSET', record, 'waiting_for', '[]')
    redis.call('HINCRBY', record, 'version', 1)
  end
end
return ids
