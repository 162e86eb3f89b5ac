-- What a name means, in one look: between two looks a content that is read from elsewhere gets its digest.
-- KEYS: the name's pointers, its uploads
-- contents: how the keys of contents begin, digest (nil: see pointers), pointers: the first that is there holds the digest
-- Returns {digest, when it was uploaded, content}, or nothing where one of them is not there.
local reference = cjson.decode(ARGV[1])
local digest = reference.digest
for _, pointer in ipairs(reference.pointers) do digest = digest or redis.call('HGET', KEYS[1], pointer) end
if not digest then return {} end
local at = redis.call('HGET', KEYS[2], digest)
local content = at and redis.call('GET', reference.contents .. digest)
if not content then return {} end
return {digest, at, content}
