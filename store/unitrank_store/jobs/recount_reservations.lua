-- Add the reservations up anew: those of live records, where they are whole numbers. Delete all others.
-- KEYS: bytes by record, with the sum of all under 'all'; ids of live records
local reservations, all = redis.call('HGETALL', KEYS[1]), 0
for index = 1, #reservations, 2 do
  local id, bytes = reservations[index], reservations[index + 1]
  if id ~= 'all' then
    if #bytes <= 15 and string.match(bytes, '^%d+$') and redis.call('SISMEMBER', KEYS[2], id) == 1 then
      all = all + tonumber(bytes)
    else
      redis.call('HDEL', KEYS[1], id)
    end
  end
end
if #reservations > 0 then redis.call('HSET', KEYS[1], 'all', string.format('%.0f', all)) end
