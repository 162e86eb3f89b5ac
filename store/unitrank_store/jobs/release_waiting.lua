-- Something has arrived: who waited for it last of all waits no longer.
-- KEYS: ids that wait for it
-- ARGV: prefix of the records' keys, prefix of the keys of ids that wait
-- Returns the ids of all that waited for it.
local ids = redis.call('SMEMBERS', KEYS[1])
redis.call('DEL', KEYS[1])
for _, id in ipairs(ids) do
  local record = ARGV[1] .. id
  local waiting = redis.call('HGET', record, 'waiting_for')
  local left = 0
  for _, what in ipairs(cjson.decode(waiting or '[]')) do left = left + redis.call('SISMEMBER', ARGV[2] .. what, id) end
  if waiting and left == 0 then
    redis.call('HSET', record, 'waiting_for', '[]')
    redis.call('HINCRBY', record, 'version', 1)
  end
end
return ids
