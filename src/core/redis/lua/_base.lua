-- Prelude of every script that tells hubs something. ARGV[1] PUBLISH or SPUBLISH, ARGV[2] channel prefix of the namespace.
local PUBLISH, CHANNELS = ARGV[1], ARGV[2]
local clock

-- Milliseconds since 1970, the same throughout the script.
local function now_ms()
  if not clock then
    local time = redis.call('TIME')
    clock = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return clock
end

-- A number as text: tostring would round what lies beyond 1e14.
local function int(number) return string.format('%.0f', number) end

-- The id of a stored message frame; nil for other texts.
local function message_id(text) return string.match(text, '^{"type":"message","id":"([^"]*)"') end
