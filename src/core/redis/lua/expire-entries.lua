-- Gives up entries whose time to live is over.
-- KEYS[1] lane (stream) 2 rejections (hash) 3 dead (stream) 4 expiries (zset) 5 sessions (hash)
-- ARGV[1..4] as in _dead.lua  [5] agent id  [6] 'i' or 'r'  [7] '1': only if the agent is not connected  [8 …] numbers
-- Returns how many
local lane, rejections, dead, expiries, sessions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local agent, letter, only_absent = ARGV[5], ARGV[6], ARGV[7] == '1'

local session = redis.call('HGET', sessions, agent)
local connected = session and string.match(session, '^%d+ (%S+)') ~= '-'
local expired = 0
for i = 8, #ARGV do
  local number = ARGV[i]
  local entry = redis.call('XRANGE', lane, '0-' .. number, '0-' .. number)[1]
  if entry and only_absent and connected then
    -- Its session may have pushed it, and what was pushed may still be acknowledged: look again in a minute.
    redis.call('ZADD', expiries, int(now + 60000), letter .. number .. ':' .. agent)
  else
    if entry then
      local rejected = redis.call('HGET', rejections, letter .. number)
      bury(dead, entry[2][2], agent, 'expired', rejected and string.match(rejected, '^%d+') or 0)
      redis.call('XDEL', lane, entry[1])
      redis.call('HDEL', rejections, letter .. number)
      expired = expired + 1
    end
    redis.call('ZREM', expiries, letter .. number .. ':' .. agent)
  end
end
announce()
return expired
