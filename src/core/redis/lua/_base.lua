-- Prelude of every script that tells hubs something. ARGV[1] PUBLISH or SPUBLISH, ARGV[2] channel prefix of the namespace.
local PUBLISH, CHANNELS = ARGV[1], ARGV[2]
local clock

-- Microseconds since 1970, the same throughout the script, and in no other one.
local function now_us()
  if not clock then
    local time = redis.call('TIME')
    clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  return clock
end

-- Milliseconds since 1970.
local function now_ms() return math.floor(now_us() / 1000) end

-- A number as text: tostring would round what lies beyond 1e14.
local function int(number) return string.format('%.0f', number) end

-- The id of a stored message frame; nil for other texts.
local function message_id(text) return string.match(text, '^{"type":"message","id":"([^"]*)"') end
