-- Sort out some jobs of a list: those that meet all conditions, and those that need attention.
--
-- KEYS
--   areas   sorted set: ids of the tenant's jobs, by the area of their best ranking
--   index   sorted set with equal scores: ids of jobs; read if `ids` is missing
-- ARGV[1], a JSON object
--   ids         ids of the jobs; nil: those of the index
--   from, to    the range of the index, as ZRANGEBYLEX takes it; `count` ids at most
--   ascending   true: `from` is the lower end
--   record      beginning of a record's key
--   unranked    true: only jobs that are not in `areas`
--   conditions  status, model, layer, dataset, verdict (nil: any), metadata (key -> value),
--               words (all must be in the record's words)
-- Returns {matching, missing, unlisted, read}: ids of the jobs that meet the conditions, of records
-- that do not exist, and of records that an older version wrote without a listing; and of the last
-- job, with the number of jobs.
local areas, index = KEYS[1], KEYS[2]
local request = cjson.decode(ARGV[1])
local ids = request.ids
if not ids then
  -- The ids stay here: sending them would take as long as the search.
  local command = request.ascending and 'ZRANGEBYLEX' or 'ZREVRANGEBYLEX'
  ids = redis.call(command, index, request.from, request.to, 'LIMIT', '0', request.count)
end
local wanted = request.conditions

local function decoded(text)
  local ok, value = pcall(cjson.decode, text)
  return ok and type(value) == 'table' and value or {}
end

-- `name` means each content of that name, `name@digest` one of them.
local function names(reference, name)
  return type(reference) == 'string' and (reference == name or string.match(reference, '^[^@]*') == name)
end

-- `pattern`: a name in which `*` matches any characters. A job that was sent before its model was
-- ready lists its patterns. The pieces between wildcards are found from left to right: a pattern of
-- Lua would try exponentially many ways to match some names.
local function is_like(layer, pattern)
  local star = string.find(pattern, '*', 1, true)
  if layer == pattern or not star then return layer == pattern end
  if string.sub(layer, 1, star - 1) ~= string.sub(pattern, 1, star - 1) then return false end
  local position, begin = star, star + 1
  star = string.find(pattern, '*', begin, true)
  while star do
    local _, last = string.find(layer, string.sub(pattern, begin, star - 1), position, true)
    -- An empty piece ends where it begins.
    if star > begin and not last then return false end
    position, begin = last and last + 1 or position, star + 1
    star = string.find(pattern, '*', begin, true)
  end
  local size = #pattern - begin + 1
  return #layer - position + 1 >= size and string.sub(layer, #layer - size + 1) == string.sub(pattern, begin)
end

-- The listings of older versions have no `layers`.
local function has_layer(listing)
  for _, layer in ipairs(listing.layers or {listing.layer}) do
    if type(layer) == 'string' and is_like(wanted.layer, layer) then return true end
  end
  return false
end

local function has_verdict(summary)
  if wanted.verdict == 'robust' then return summary.robust == true end
  if wanted.verdict == 'fragile' then return summary.verdict == 'better_than_random' and summary.robust == false end
  return summary.verdict == wanted.verdict
end

local function has_metadata(metadata)
  for key, value in pairs(wanted.metadata) do
    local is_equal = false
    for _, text in ipairs(metadata[key] or {}) do is_equal = is_equal or text == value end
    if not is_equal then return false end
  end
  return true
end

local function has_words(text)
  for _, word in ipairs(wanted.words) do
    if not string.find(text, word, 1, true) then return false end
  end
  return true
end

-- A field that no condition needs is not read: it would be copied for each job.
local needs_listing = wanted.model or wanted.dataset or wanted.layer or next(wanted.metadata)

local function fits(listing)
  return (not wanted.model or names(listing.model, wanted.model))
    and (not wanted.dataset or names(listing.dataset, wanted.dataset))
    and (not wanted.layer or has_layer(listing))
    and has_metadata(listing.metadata or {})
end

local fields = {'status', 'words', wanted.verdict and 'summary' or 'status', needs_listing and 'listing' or 'status'}
-- A search for words alone reads one field of each job, in half of the time.
local needs_words_only = #wanted.words > 0 and not (wanted.status or wanted.verdict or needs_listing)

local function meets(status, words, summary, listing)
  return (not wanted.status or status == wanted.status)
    and has_words(words)
    and (not wanted.verdict or has_verdict(decoded(summary or '')))
    and (not needs_listing or fits(decoded(listing or '')))
end

local matching, missing, unlisted = {}, {}, {}
for _, id in ipairs(ids) do
  local words = needs_words_only and redis.pcall('HGET', request.record .. id, 'words')
  -- A forged record may have another type.
  local record = type(words) == 'string' and {'', words} or redis.pcall('HMGET', request.record .. id, unpack(fields))
  if record.err or not record[1] then
    table.insert(missing, id)
  elseif not record[2] then
    table.insert(unlisted, id)
  elseif not (request.unranked and redis.call('ZSCORE', areas, id)) and meets(unpack(record)) then
    table.insert(matching, id)
  end
end
return {matching, missing, unlisted, {ids[#ids] or '', tostring(#ids)}}
