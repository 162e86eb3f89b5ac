-- Add an id to the end of its line. Then feed.lua decides which id is the next one in RQ's queue.
-- An owner without other jobs in a line is placed after the owners that wait already, and before
-- the owner that had the last turn. The owner that had the last turn is placed behind all others.
--
-- KEYS
--   queue       list: RQ's queue, of which workers take the next id
--   owners      sorted set: owners that have jobs in a line, scored by their last turn
--   turns       counter: turns that owners have had
--   last_turn   hash: the last id that was moved into the queue, its line, its owner and the
--               owner's score before
--   arrivals    counter: ids that were added to a line
--   line        list: ids of this owner and this priority
-- ARGV[1], a JSON object
--   owner   the id's owner
--   id      the id to add
local queue, owners, turns, last_turn, arrivals, line = unpack(KEYS)
local added = cjson.decode(ARGV[1])

-- 1. If no worker has taken the last id from the queue, undo its turn: the new id may precede it.
local last_id, last_line, last_owner, last_score = unpack(redis.call('HMGET', last_turn, 'id', 'line', 'owner', 'score'))
if last_id and redis.call('LREM', queue, 0, last_id) > 0 then
  redis.call('LPUSH', last_line, last_id)
  redis.call('ZADD', owners, last_score, last_owner)
  redis.call('DECR', turns)
  redis.call('DEL', last_turn)
  last_owner = false
end

-- 2. Add the id to its line.
redis.call('RPUSH', line, added.id)

-- 3. Give a new owner a score between the last turn and the one before it. Scores of turns are
-- 1 000 000 apart, so that new owners keep the order of their arrival. The owner of the last turn
-- gets that turn's score again: its line was empty since.
local turn, arrival = tonumber(redis.call('GET', turns) or '0'), redis.call('INCR', arrivals) % 1000000
local score = last_owner == added.owner and turn * 1000000 or (turn - 1) * 1000000 + arrival
redis.call('ZADD', owners, 'NX', score, added.owner)
