-- The epoch of a namespace. One begins where there is none, and where the server is not the one that the last epoch was begun on: that one was
-- restarted, or this one was its replica, and nobody knows what has been lost. The revisions of an epoch are far ahead of those before it.
-- KEYS[1] meta (hash) KEYS[2] events (stream)
-- KEYS[3] deadlines (zset)
-- ARGV[1] id of the server's process  ARGV[2] name of the epoch, should one begin  ARGV[3] for how long nobody is elected where the leader is lost (ms)
-- Returns the epoch's name
local meta, events, server, name = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local known = redis.call('HMGET', meta, 'epoch', 'server', 'revision', 'leader')
if known[1] and known[2] == server then return known[1] end
redis.call('HSET', meta, 'epoch', name, 'server', server)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if known[3] then redis.call('HSET', meta, 'revision', string.format('%.0f', math.max(now * 1000, tonumber(known[3]) + 1))) end
if not known[4] and tonumber(ARGV[3]) > 0 then
  local until_ms = string.format('%.0f', now + tonumber(ARGV[3]))
  redis.call('HSET', meta, 'quiet', until_ms)
  -- An agent that is none: whoever looks after deadlines then holds the election.
  redis.call('ZADD', KEYS[3], until_ms, '')
end
-- Revisions count by one within an epoch: who continues from one before it has to list anew.
redis.call('DEL', events)
return name
