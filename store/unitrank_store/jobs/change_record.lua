-- Compare-and-set of a record: nothing happens unless its status and its attempt are the expected ones.
-- KEYS: record, its events, ids of live records, ids in the new status, its deliveries, owners with due deliveries, reservations
-- id, expected: the statuses that it may have, attempt (nil: any), status: the new one (nil: it stays), fields: to set,
-- seconds: until the record goes (nil: it stays), event: {kind, data},
-- prefixes: how the keys begin of ids by status, pins, tenants' indexes, owners' live ids and owners' due deliveries
-- Returns {1 or 0, status and attempt as they were before}.
local record, events, live, in_status, deliveries, owners_with_due, reservations = unpack(KEYS)
local change = cjson.decode(ARGV[1])
local id, prefixes = change.id, change.prefixes
local status, attempt = unpack(redis.call('HMGET', record, 'status', 'attempt'))
if not status then return {0, '', ''} end
local expected = false
for _, name in ipairs(change.expected) do expected = expected or name == status end
if not expected or (change.attempt and change.attempt ~= attempt) then return {0, status, attempt} end

if change.status and change.status ~= status then
  -- First of all: a server whose memory is full refuses a script's first write, unless that frees memory, and lets all
  -- others pass. Otherwise no job could end or be cancelled any more, and nothing would ever make room.
  local of_tenant = prefixes.tenants .. ':' .. redis.call('HGET', record, 'tenant') .. ':status:'
  redis.call('ZREM', prefixes.by_status .. status, id)
  redis.call('ZREM', of_tenant .. status, id)
  redis.call('HSET', record, 'status', change.status)
  redis.call('ZADD', in_status, 0, id)
  redis.call('ZADD', of_tenant .. change.status, 0, id)
  redis.call('HINCRBY', prefixes.by_status .. 'entered', change.status, 1)
end
for field, value in pairs(change.fields) do redis.call('HSET', record, field, value) end
redis.call('HINCRBY', record, 'version', 1)
redis.call('XADD', events, 'MAXLEN', '~', 1000, '*', 'kind', change.event.kind, 'data', change.event.data)
if change.seconds then
  redis.call('SREM', live, id)
  redis.call('SREM', prefixes.owners .. redis.call('HGET', record, 'owner'), id)
  for _, digest in ipairs(cjson.decode(redis.call('HGET', record, 'needs'))) do
    redis.call('SREM', prefixes.pins .. digest, id)
  end
  for _, delivery in ipairs(redis.call('HKEYS', deliveries)) do
    local owner = string.match(delivery, '^[^:]*')
    redis.call('ZADD', prefixes.due .. owner, 0, delivery .. ':' .. id)
    redis.call('ZADD', owners_with_due, 'NX', 0, owner)
  end
  for _, key in ipairs({deliveries, record, events}) do redis.call('EXPIRE', key, change.seconds) end
  -- Last, and without an error: a forged reservation keeps no record from its end. `recount_reservations.lua` puts it right.
  local bytes = redis.pcall('HGET', reservations, id)
  if type(bytes) == 'string' and string.match(bytes, '^%d+$') then
    redis.pcall('HDEL', reservations, id)
    redis.pcall('HINCRBY', reservations, 'all', '-' .. bytes)
  end
end
return {1, status, attempt}
