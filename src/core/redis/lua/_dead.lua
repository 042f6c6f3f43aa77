-- Prelude of every script that gives a message up. Binds nothing of KEYS; ARGV[1..4] are the same in all of them:
-- ARGV[1] PUBLISH or SPUBLISH, ARGV[2] channel prefix of the namespace, ARGV[3] eventsMax, ARGV[4] deadMax (0: no limit).
local PUBLISH, CHANNELS, EVENTS_MAX, DEAD_MAX = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local notices = {}

-- A number as text: tostring would round what lies beyond 1e14.
local function int(number) return string.format('%.0f', number) end

-- The id of a stored message frame; nil for other texts.
local function message_id(text) return string.match(text, '^{"type":"message","id":"([^"]*)"') end

local function bury(dead, text, agent, reason, rejections)
  local entry = { 'a', agent, 'r', reason, 'n', tostring(rejections), 'at', int(now), 't', text }
  if DEAD_MAX > 0 then
    redis.call('XADD', dead, 'MAXLEN', DEAD_MAX, '*', unpack(entry))
  else
    redis.call('XADD', dead, '*', unpack(entry))
  end
  notices[#notices + 1] = cjson.encode({ id = message_id(text), agent = agent, reason = reason, at = int(now) })
end

-- Tells every hub what was buried by this script.
local function announce()
  if #notices > 0 then redis.call(PUBLISH, CHANNELS .. 'feed', 'D\n' .. table.concat(notices, '\n')) end
end

-- The last number given in a stream numbered 0-1, 0-2, …
local function last_number(key)
  if redis.call('EXISTS', key) == 0 then return 0 end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return tonumber(string.sub(info[i + 1], 3)) end
  end
end
