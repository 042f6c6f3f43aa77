-- Members whose time has come, by the store's clock.
-- KEYS[1] zset: member → time (ms)
-- ARGV[1] limit
-- Returns members
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
