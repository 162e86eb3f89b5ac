-- Take the next delivery that is due, and lease it to the caller. Owners take turns, and no owner
-- has more than `most` leased deliveries. When a lease ends before settle_delivery.lua is called,
-- another process takes the delivery.
--
-- KEYS
--   owners_with_due   sorted set: owners that have due deliveries, scored by their last turn
--   under_way         sorted set: leased deliveries, scored by the unix time of the lease's end
-- ARGV[1], a JSON object
--   due         beginning of the keys of owners' due deliveries (sorted sets, scored by unix time)
--   now         unix time
--   lease_end   unix time at which the new lease ends
--   most        maximum number of leased deliveries of one owner
-- Returns the delivery as "owner:delivery's id:record's id", or nothing.
local owners_with_due, under_way = unpack(KEYS)
local request = cjson.decode(ARGV[1])

-- 1. Remove ended leases. This step must write first: a server whose memory is full rejects the
-- first write of a script, unless that write frees memory.
redis.call('ZREMRANGEBYSCORE', under_way, '-inf', request.now)

-- 2. Count the leased deliveries of each owner.
local leased = {}
for _, delivery in ipairs(redis.call('ZRANGE', under_way, 0, -1)) do
  local owner = string.match(delivery, '^[^:]*')
  leased[owner] = (leased[owner] or 0) + 1
end

-- 3. Find the first owner, in the order of turns, that has a due delivery and may lease it.
for _, owner in ipairs(redis.call('ZRANGE', owners_with_due, 0, -1)) do
  local due = request.due .. owner
  if redis.call('EXISTS', due) == 0 then
    redis.call('ZREM', owners_with_due, owner)
  elseif (leased[owner] or 0) < request.most then
    local delivery = redis.call('ZRANGEBYSCORE', due, '-inf', request.now, 'LIMIT', 0, 1)[1]
    if delivery then
      -- 4. Lease the delivery, which is due again at the lease's end. The owner is now the last.
      redis.call('ZADD', due, request.lease_end, delivery)
      redis.call('ZADD', under_way, request.lease_end, delivery)
      redis.call('ZADD', owners_with_due, request.now, owner)
      return delivery
    end
  end
end
return false
