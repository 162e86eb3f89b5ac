-- What a name means, in one look: between two of them what was read from elsewhere gets its digest.
-- KEYS: the name's pointers, its uploads
-- ARGV: prefix of the keys of contents, digest or '', the pointers that may say it, the first that is there
-- Returns {digest, when it was uploaded, content}, or nothing where one of them is not there.
local digest = ARGV[2] ~= '' and ARGV[2] or false
for index = 3, #ARGV do digest = digest or redis.call('HGET', KEYS[1], ARGV[index]) end
if not digest then return {} end
local at = redis.call('HGET', KEYS[2], digest)
local content = at and redis.call('GET', ARGV[1] .. digest)
if not content then return {} end
return {digest, at, content}
