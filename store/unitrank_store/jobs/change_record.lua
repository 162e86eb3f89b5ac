-- Change a record, if its status and its attempt are the expected ones (compare-and-set).
-- Otherwise the script changes nothing.
--
-- KEYS
--   record            hash: the record
--   events            stream: the record's changes, which followers read
--   live              set: ids of records that have not ended
--   in_new_status     sorted set: ids of records in the new status
--   deliveries        hash: the record's webhook deliveries, by "owner:delivery's id"
--   owners_with_due   sorted set: owners that have due deliveries, scored by their last turn
--   reservations      hash: record's id -> bytes reserved for its result; their sum under 'all'
-- ARGV[1], a JSON object
--   id         the record's id
--   expected   list of statuses in which the record may be changed
--   attempt    attempt at which the record may be changed, as text (nil: any attempt)
--   status     the new status (nil: the status stays)
--   fields     the record's fields to set
--   seconds    seconds until an ended record expires (nil: the change does not end the record)
--   area       area of the result's best ranking, as text (nil: the tenant's index stays)
--   event      {kind, data} of the entry that is appended to the stream
--   prefixes   beginnings of keys: by_status (ids by status), pins (ids of jobs by content),
--              tenants (a tenant's indexes), owners (an owner's live ids),
--              due (an owner's due deliveries)
-- Returns {1, status, attempt} after a change, and {0, status, attempt} without one.
-- status and attempt are the values before the call. Returns {0, '', ''} if there is no record.
local record, events, live, in_new_status, deliveries, owners_with_due, reservations = unpack(KEYS)
local change = cjson.decode(ARGV[1])
local id, prefixes = change.id, change.prefixes

-- 1. Compare: the record exists, in an expected status, at the expected attempt.
local status, attempt = unpack(redis.call('HMGET', record, 'status', 'attempt'))
if not status then return {0, '', ''} end
local is_expected = false
for _, name in ipairs(change.expected) do is_expected = is_expected or name == status end
if not is_expected or (change.attempt and change.attempt ~= attempt) then return {0, status, attempt} end

-- 2. Move the record to its new status, and its id from one index to the other.
-- This step must write first. A server whose memory is full rejects the first write of a script,
-- unless that write frees memory as ZREM does. The server accepts all later writes.
-- In another order, no job could end or be cancelled while the memory is full.
if change.status and change.status ~= status then
  local of_tenant = prefixes.tenants .. ':' .. redis.call('HGET', record, 'tenant') .. ':status:'
  redis.call('ZREM', prefixes.by_status .. status, id)
  redis.call('ZREM', of_tenant .. status, id)
  redis.call('HSET', record, 'status', change.status)
  redis.call('ZADD', in_new_status, 0, id)
  redis.call('ZADD', of_tenant .. change.status, 0, id)
  redis.call('HINCRBY', prefixes.by_status .. 'entered', change.status, 1)
end

-- 3. Set the other fields, index the area, count the version up and append the event.
for field, value in pairs(change.fields) do redis.call('HSET', record, field, value) end
if change.area then
  redis.call('ZADD', prefixes.tenants .. ':' .. redis.call('HGET', record, 'tenant') .. ':areas', change.area, id)
end
redis.call('HINCRBY', record, 'version', 1)
redis.call('XADD', events, 'MAXLEN', '~', 1000, '*', 'kind', change.event.kind, 'data', change.event.data)

if change.seconds then
  -- 4. The record has ended: it is not live, and it no longer pins the contents that it needed.
  redis.call('SREM', live, id)
  redis.call('SREM', prefixes.owners .. redis.call('HGET', record, 'owner'), id)
  for _, digest in ipairs(cjson.decode(redis.call('HGET', record, 'needs'))) do
    redis.call('SREM', prefixes.pins .. digest, id)
  end

  -- 5. Its deliveries are due now.
  for _, delivery in ipairs(redis.call('HKEYS', deliveries)) do
    local owner = string.match(delivery, '^[^:]*')
    redis.call('ZADD', prefixes.due .. owner, 0, delivery .. ':' .. id)
    redis.call('ZADD', owners_with_due, 'NX', 0, owner)
  end

  -- 6. The record, its events and its deliveries expire together.
  for _, key in ipairs({deliveries, record, events}) do redis.call('EXPIRE', key, change.seconds) end

  -- 7. Give back the bytes that were reserved for the result. This step is the last one and raises
  -- no error, so that a forged reservation cannot keep a record from ending.
  -- `recount_reservations.lua` corrects the sum later.
  local bytes = redis.pcall('HGET', reservations, id)
  if type(bytes) == 'string' and string.match(bytes, '^%d+$') then
    redis.pcall('HDEL', reservations, id)
    redis.pcall('HINCRBY', reservations, 'all', '-' .. bytes)
  end
end
return {1, status, attempt}
