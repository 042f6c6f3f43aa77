-- For which agents there is more than their sessions have read, or work that they hold. Changes nothing.
-- KEYS[1] held (zset, by lex); then for each agent: inbox, replies (streams)
-- ARGV for each agent: its id, the last number read of its inbox, of its replies
-- Returns for each agent of whom any of it is true: its id, then 1 or 0 for its inbox, its replies, its work
local HELD = KEYS[1]
local holds = redis.call('EXISTS', HELD) == 1

-- A lane that something was read of is there as long as its agent is, if empty.
local known = {}
for i = 1, #ARGV, 3 do
  local key = (i - 1) / 3 * 2 + 2
  if ARGV[i + 1] ~= '0' then known[#known + 1] = KEYS[key] end
  if ARGV[i + 2] ~= '0' then known[#known + 1] = KEYS[key + 1] end
end
local gone = #known > 0 and redis.call('EXISTS', unpack(known)) < #known

local function has_more(lane, read)
  if gone and read ~= '0' and redis.call('EXISTS', lane) == 0 then return 1 end
  return #redis.call('XRANGE', lane, '(0-' .. read, '+', 'COUNT', 1)
end

local function has_work(agent)
  if not holds then return 0 end
  local prefix = '[' .. #agent .. ':' .. agent .. ':'
  return math.min(1, redis.call('ZLEXCOUNT', HELD, prefix, prefix .. '\255'))
end

local reply = {}
for i = 1, #ARGV, 3 do
  local agent, key = ARGV[i], (i - 1) / 3 * 2 + 2
  local inbox, replies, work = has_more(KEYS[key], ARGV[i + 1]), has_more(KEYS[key + 1], ARGV[i + 2]), has_work(agent)
  if inbox + replies + work > 0 then
    for _, value in ipairs({ agent, inbox, replies, work }) do reply[#reply + 1] = value end
  end
end
return reply
