-- How full work queues are. Changes nothing.
-- KEYS[1] states (hash) 2 waiting (zset, by lex) 3 sizes (hash)
-- ARGV capabilities …
-- Returns for each: entries, those that wait, those that are delayed, when the oldest that waits was stored (ms, '' where none does)
local STATES, WAITING, SIZES = KEYS[1], KEYS[2], KEYS[3]

local function count(prefix) return redis.call('ZLEXCOUNT', WAITING, '[' .. prefix, '[' .. prefix .. '\255') end

-- When the first one of a line was stored; its id is what stands behind 16 digits and a colon.
local function stored_at(member, prefix)
  return cjson.decode(redis.call('HGET', STATES, string.sub(member, #prefix + 18))).at
end

-- A queue has a line for what nobody lost, and one for each agent that lost some last.
local function oldest(queue)
  local from, upto, found = '[w' .. queue, '[w' .. queue .. '\255', nil
  while true do
    local member = redis.call('ZRANGEBYLEX', WAITING, from, upto, 'LIMIT', 0, 1)[1]
    if not member then return found end
    local length, after = string.match(member, '^(%d+):()', 2 + #queue)
    local prefix = string.sub(member, 1, after + tonumber(length))
    local at = stored_at(member, prefix)
    if not found or at < found then found = at end
    from = '(' .. prefix .. '\255'
  end
end

local reply = {}
for _, capability in ipairs(ARGV) do
  local queue = #capability .. ':' .. capability .. ':'
  local at = oldest(queue)
  reply[#reply + 1] = tonumber(redis.call('HGET', SIZES, capability) or 0)
  reply[#reply + 1] = count('w' .. queue)
  reply[#reply + 1] = count('d' .. queue)
  reply[#reply + 1] = at and string.format('%.0f', at) or ''
end
return reply
