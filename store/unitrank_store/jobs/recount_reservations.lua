-- Reckon anew what is promised: to records that live, and whole numbers.
-- KEYS: bytes by record, with the sum of all under 'all'; live ids
local promised, all = redis.call('HGETALL', KEYS[1]), 0
for index = 1, #promised, 2 do
  local id, bytes = promised[index], promised[index + 1]
  if id ~= 'all' then
    if #bytes <= 15 and string.match(bytes, '^%d+$') and redis.call('SISMEMBER', KEYS[2], id) == 1 then
      all = all + tonumber(bytes)
    else
      redis.call('HDEL', KEYS[1], id)
    end
  end
end
if #promised > 0 then redis.call('HSET', KEYS[1], 'all', string.format('%.0f', all)) end
