-- Agents whose deadline has come, by the store's clock.
-- KEYS[1] deadlines (zset)
-- ARGV[1] limit
-- Returns ids
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
