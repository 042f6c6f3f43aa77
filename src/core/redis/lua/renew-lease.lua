-- Extends a hub's lease.
-- KEYS[1] hubs (zset: hub → deadline) KEYS[2] the hub's namespaces (set)
-- ARGV[1] hub  ARGV[2] lease (ms)  ARGV[3 …] namespaces
-- Returns 1 where there was no lease, or it had run out
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('DEL', KEYS[2])
-- Lua unpacks some thousands at most.
for from = 3, #ARGV, 1000 do redis.call('SADD', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV))) end
return (not deadline or tonumber(deadline) <= now) and 1 or 0
