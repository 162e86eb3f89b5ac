-- Delete every reservation that is not valid, and write the sum of the others.
-- A reservation is valid if it is a whole number of at most 15 digits and its record is live.
--
-- KEYS
--   reservations   hash: record's id -> bytes reserved for its result; their sum under 'all'
--   live           set: ids of records that have not ended
local reservations, live = unpack(KEYS)
local entries, sum = redis.call('HGETALL', reservations), 0
for index = 1, #entries, 2 do
  local id, bytes = entries[index], entries[index + 1]
  if id ~= 'all' then
    if #bytes <= 15 and string.match(bytes, '^%d+$') and redis.call('SISMEMBER', live, id) == 1 then
      sum = sum + tonumber(bytes)
    else
      redis.call('HDEL', reservations, id)
    end
  end
end
if #entries > 0 then redis.call('HSET', reservations, 'all', string.format('%.0f', sum)) end
