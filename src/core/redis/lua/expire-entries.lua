-- Gives up entries whose time to live is over, and the oldest of an inbox that is over its bound.
-- KEYS[1] sessions (hash) 2 lane (stream) 3 rejections (hash) 4 receipts (hash) 5 dead (stream) 6 expiries (zset); then the lanes of
--   senders
-- ARGV[1..4] as in _dead.lua  [5] agent id  [6] 'i' or 'r'  [7] '1': only if the agent is not connected  [8] entries the inbox of an agent that
--   lives by heartbeats holds; numbers …, 0: the inbox is over its bound; then senders as in _receipts.lua
-- Returns how many
local lane, rejections, receipts, dead, expiries = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local agent, letter, only_absent = ARGV[5], ARGV[6], ARGV[7] == '1'

local session = redis.call('HGET', SESSIONS, agent)
local connected = session and string.match(session, '^%d+ (%S+)') ~= '-'
local numbers, surplus = {}, {}
for i = 9, LAST_ARG do
  if ARGV[i] == '0' then
    local over = redis.call('XLEN', lane) - tonumber(ARGV[8])
    if over > 0 and session and string.find(session, ' - @', 1, true) then
      for _, entry in ipairs(redis.call('XRANGE', lane, '-', '+', 'COUNT', math.min(over, 100))) do
        numbers[#numbers + 1] = string.sub(entry[1], 3)
        surplus[numbers[#numbers]] = true
      end
    end
    if over <= 100 then numbers[#numbers + 1] = '0' end
  else
    numbers[#numbers + 1] = ARGV[i]
  end
end
if not (only_absent and connected) then
  for _, number in ipairs(numbers) do needs_receipt(receipts, letter .. number) end
  if missing then return missing end
end

local expired = 0
for _, number in ipairs(numbers) do
  local place = letter .. number
  local entry = redis.call('XRANGE', lane, '0-' .. number, '0-' .. number)[1]
  if entry and only_absent and connected then
    -- Its session may have pushed it, and what was pushed may still be acknowledged: look again in a minute.
    redis.call('ZADD', expiries, int(now + 60000), place .. ':' .. agent)
  else
    if entry then
      local rejected = redis.call('HGET', rejections, place)
      local reason = surplus[number] and 'inbox_overflow' or 'expired'
      if not is_receipt(entry[2][2]) then bury(dead, entry[2][2], agent, reason, rejected and string.match(rejected, '^%d+') or 0) end
      redis.call('XDEL', lane, entry[1])
      count_out(entry)
      redis.call('HDEL', rejections, place)
      local status = surplus[number] and 'dead_lettered' or 'expired'
      end_receipt(receipts, place, agent, status, surplus[number] and reason, entry[2][2])
      expired = expired + 1
    end
    redis.call('ZREM', expiries, place .. ':' .. agent)
  end
end
keep_count()
announce()
tell_entries()
return expired
