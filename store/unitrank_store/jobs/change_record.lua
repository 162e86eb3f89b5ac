-- Compare-and-set of a record: nothing happens unless its status and its attempt are the expected ones.
-- KEYS: record, events, live ids, ids in the new status, its deliveries, owners with deliveries that are due, bytes that
--       were promised to records
-- ARGV: id, expected statuses (JSON), expected attempt or '', new status or '' (unchanged), fields to set (JSON),
--       seconds until the record goes or '' (it stays), prefix of the keys of ids by status, event's kind, event's data,
--       prefix of the keys of pins, prefix of the keys of tenants' indices, prefix of the keys of owners' live ids,
--       prefix of the keys of owners' deliveries that are due
-- Returns {1 or 0, status and attempt as they were before}.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {0, '', ''} end
local attempt = redis.call('HGET', KEYS[1], 'attempt')
local expected = false
for _, name in ipairs(cjson.decode(ARGV[2])) do expected = expected or name == status end
if not expected or (ARGV[3] ~= '' and ARGV[3] ~= attempt) then return {0, status, attempt} end

if ARGV[4] ~= '' and ARGV[4] ~= status then
  -- First of all: a server whose memory is full refuses a script's first write, unless that frees memory, and lets all
  -- others pass. Otherwise no job could end or be cancelled any more, and nothing would ever make room.
  local of_tenant = ARGV[11] .. ':' .. redis.call('HGET', KEYS[1], 'tenant') .. ':status:'
  redis.call('ZREM', ARGV[7] .. status, ARGV[1])
  redis.call('ZREM', of_tenant .. status, ARGV[1])
  redis.call('HSET', KEYS[1], 'status', ARGV[4])
  redis.call('ZADD', KEYS[4], 0, ARGV[1])
  redis.call('ZADD', of_tenant .. ARGV[4], 0, ARGV[1])
  redis.call('HINCRBY', ARGV[7] .. 'entered', ARGV[4], 1)
end
for field, value in pairs(cjson.decode(ARGV[5])) do redis.call('HSET', KEYS[1], field, value) end
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'kind', ARGV[8], 'data', ARGV[9])
if ARGV[6] ~= '' then
  redis.call('SREM', KEYS[3], ARGV[1])
  redis.call('SREM', ARGV[12] .. redis.call('HGET', KEYS[1], 'owner'), ARGV[1])
  for _, digest in ipairs(cjson.decode(redis.call('HGET', KEYS[1], 'needs'))) do
    redis.call('SREM', ARGV[10] .. digest, ARGV[1])
  end
  for _, delivery in ipairs(redis.call('HKEYS', KEYS[5])) do
    local owner = string.match(delivery, '^[^:]*')
    redis.call('ZADD', ARGV[13] .. owner, 0, delivery .. ':' .. ARGV[1])
    redis.call('ZADD', KEYS[6], 'NX', 0, owner)
  end
  redis.call('EXPIRE', KEYS[5], ARGV[6])
  redis.call('EXPIRE', KEYS[1], ARGV[6])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
  -- Last, and without an error: what somebody else wrote there keeps nothing from its end. `recount_reservations.lua` puts it right.
  local promised = redis.pcall('HGET', KEYS[7], ARGV[1])
  if type(promised) == 'string' and string.match(promised, '^%d+$') then
    redis.pcall('HDEL', KEYS[7], ARGV[1])
    redis.pcall('HINCRBY', KEYS[7], 'all', '-' .. promised)
  end
end
return {1, status, attempt}
