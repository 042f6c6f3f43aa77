-- Hubs whose lease has not run out.
-- KEYS[1] hubs (zset: hub → deadline, ms)
-- Returns for each: hub, ms until its deadline
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
local reply = {}
for i = 1, #found, 2 do
  reply[i] = found[i]
  reply[i + 1] = string.format('%.0f', tonumber(found[i + 1]) - now)
end
return reply
