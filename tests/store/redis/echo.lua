-- Returns the keys, the arguments' types and the text of `number`, as Redis takes it.
local arguments = cjson.decode(ARGV[1])
redis.call('SET', KEYS[1], arguments.number)
return {KEYS[1], type(arguments.absent), type(arguments.list), #arguments.list, redis.call('GET', KEYS[1])}
