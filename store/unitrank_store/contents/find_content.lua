-- Find the content that a name means, in one atomic step. With several reads, a content that is
-- imported could get its digest between two of them.
--
-- KEYS
--   pointers   hash: digests of the `newest` and of the last `ready` content under the name
--   uploads    hash: digest -> unix time of its first upload under the name
-- ARGV[1], a JSON object
--   contents   beginning of the keys of all contents
--   digest     the content's digest (nil: read it from the pointers)
--   pointers   list of pointers to try, in this order
-- Returns {digest, unix time of the upload, content as JSON}, or nothing if the content does not
-- exist under the name.
local pointers, uploads = KEYS[1], KEYS[2]
local reference = cjson.decode(ARGV[1])

-- 1. Find the digest.
local digest = reference.digest
for _, pointer in ipairs(reference.pointers) do digest = digest or redis.call('HGET', pointers, pointer) end
if not digest then return {} end

-- 2. Read the upload's time and the content.
local at = redis.call('HGET', uploads, digest)
local content = at and redis.call('GET', reference.contents .. digest)
if not content then return {} end
return {digest, at, content}
