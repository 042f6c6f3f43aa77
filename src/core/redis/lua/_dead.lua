-- Prelude of every script that gives a message up, after _base.lua. Binds nothing of KEYS; ARGV[1..4] are the same in all of them:
-- ARGV[1..2] as in _base.lua, ARGV[3] eventsMax, ARGV[4] deadMax (0: no limit).
local EVENTS_MAX, DEAD_MAX = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
local notices = {}

-- `agent` nil: of work that nobody had. `capability` nil: no work.
local function bury(dead, text, agent, reason, attempts, capability)
  local entry = { 'a', agent or '', 'r', reason, 'n', tostring(attempts), 'at', int(now), 't', text, 'c', capability or '' }
  if DEAD_MAX > 0 then
    redis.call('XADD', dead, 'MAXLEN', DEAD_MAX, '*', unpack(entry))
  else
    redis.call('XADD', dead, '*', unpack(entry))
  end
  notices[#notices + 1] = cjson.encode({ id = message_id(text), agent = agent, capability = capability, reason = reason, at = int(now) })
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
