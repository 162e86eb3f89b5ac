-- Returns the keys, the arguments' types and the text of `number`, as Redis takes it.
local given = cjson.decode(ARGV[1])
redis.call('SET', KEYS[1], given.number)
return {KEYS[1], type(given.absent), type(given.list), #given.list, redis.call('GET', KEYS[1])}
