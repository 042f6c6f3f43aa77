-- Whether a hub's lease has run out; removes it if so and wanted.
-- KEYS[1] hubs (zset: hub → deadline) KEYS[2] the hub's namespaces (set)
-- ARGV[1] hub  ARGV[2] '1': remove it
-- Returns 1 where it had run out, else 0
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not deadline or tonumber(deadline) > now then return 0 end
if ARGV[2] == '1' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
end
return 1
