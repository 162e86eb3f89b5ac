-- Fill RQ's queue: if the queue is empty, move one id from a line into it.
-- Owners take turns. The owner with the lowest score has the next turn, with its most urgent job.
--
-- KEYS
--   queue       list: RQ's queue, of which workers take the next id
--   owners      sorted set: owners that have jobs in a line, scored by their last turn
--   turns       counter: turns that owners have had
--   last_turn   hash: the last id that was moved into the queue, its line, its owner and the
--               owner's score before, so that line_up.lua can move the id back
--   overtaken   hash: how many later ids of its line have overtaken an id (see exchange.lua)
-- ARGV[1], a JSON object
--   lines        beginning of the keys of all lines
--   priorities   list of the priorities, the most urgent first
--   taken        the id that a worker has taken, or nil
local queue, owners, turns, last_turn, overtaken = unpack(KEYS)
local order = cjson.decode(ARGV[1])
if order.taken then redis.call('HDEL', overtaken, order.taken) end
while redis.call('LLEN', queue) == 0 do
  -- 1. Find the owner whose turn it is.
  local owner, score = unpack(redis.call('ZRANGE', owners, 0, 0, 'WITHSCORES'))
  if not owner then return end

  -- 2. Take the first id from the owner's most urgent line that has one.
  local id, line = false, false
  for _, priority in ipairs(order.priorities) do
    if not id then
      line = order.lines .. owner .. ':' .. priority
      id = redis.call('LPOP', line)
    end
  end

  if id then
    -- 3. Move the id into the queue, and move the owner behind all others.
    redis.call('RPUSH', queue, id)
    redis.call('HSET', last_turn, 'id', id, 'line', line, 'owner', owner, 'score', score)
    redis.call('ZADD', owners, redis.call('INCR', turns) * 1000000, owner)
  else
    -- All lines of this owner are empty: try the next owner.
    redis.call('ZREM', owners, owner)
  end
end
