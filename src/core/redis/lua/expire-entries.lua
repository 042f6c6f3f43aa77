-- Gives up entries whose time to live is over.
-- KEYS[1] sessions (hash) 2 lane (stream) 3 rejections (hash) 4 receipts (hash) 5 dead (stream) 6 expiries (zset); then the lanes of
--   senders
-- ARGV[1..4] as in _dead.lua  [5] agent id  [6] 'i' or 'r'  [7] '1': only if the agent is not connected; numbers …; then senders as in
--   _receipts.lua
-- Returns how many
local lane, rejections, receipts, dead, expiries = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local agent, letter, only_absent = ARGV[5], ARGV[6], ARGV[7] == '1'

local session = redis.call('HGET', SESSIONS, agent)
local connected = session and string.match(session, '^%d+ (%S+)') ~= '-'
if not (only_absent and connected) then
  for i = 8, LAST_ARG do needs_receipt(receipts, letter .. ARGV[i]) end
  if missing then return missing end
end

local expired = 0
for i = 8, LAST_ARG do
  local number = ARGV[i]
  local place = letter .. number
  local entry = redis.call('XRANGE', lane, '0-' .. number, '0-' .. number)[1]
  if entry and only_absent and connected then
    -- Its session may have pushed it, and what was pushed may still be acknowledged: look again in a minute.
    redis.call('ZADD', expiries, int(now + 60000), place .. ':' .. agent)
  else
    if entry then
      local rejected = redis.call('HGET', rejections, place)
      if not is_receipt(entry[2][2]) then bury(dead, entry[2][2], agent, 'expired', rejected and string.match(rejected, '^%d+') or 0) end
      redis.call('XDEL', lane, entry[1])
      count_out(entry)
      redis.call('HDEL', rejections, place)
      end_receipt(receipts, place, agent, 'expired')
      expired = expired + 1
    end
    redis.call('ZREM', expiries, place .. ':' .. agent)
  end
end
keep_count()
announce()
tell_entries()
return expired
