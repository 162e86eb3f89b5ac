-- A model or a dataset is ready: a record that waited for nothing else waits no longer.
-- KEYS: ids of records that wait for it
-- prefixes: how the keys of records and of ids that wait begin
-- Returns the ids of all that waited for it.
local prefixes = cjson.decode(ARGV[1]).prefixes
local ids = redis.call('SMEMBERS', KEYS[1])
redis.call('DEL', KEYS[1])
for _, id in ipairs(ids) do
  local record = prefixes.record .. id
  local waiting = redis.call('HGET', record, 'waiting_for')
  local left = 0
  for _, what in ipairs(cjson.decode(waiting or '[]')) do left = left + redis.call('SISMEMBER', prefixes.waiting .. what, id) end
  if waiting and left == 0 then
    redis.call('HSET', record, 'waiting_for', '[]')
    redis.call('HINCRBY', record, 'version', 1)
  end
end
return ids
