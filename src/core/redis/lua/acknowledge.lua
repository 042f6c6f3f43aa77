-- Deletes what an agent that lives by heartbeats has acknowledged, by the ids of the messages.
-- KEYS[1] sessions (hash) 2 inbox 3 replies (streams) 4 rejections 5 receipts (hashes) 6 expiries (zset); then the lanes of senders
-- ARGV[1..2] as in _base.lua  [3] agent id  [4] door  [5] who has to own the agent, or '': not
--   looked at  [6] entries the inbox holds (0: no limit); ids …; then senders as in _receipts.lua
-- Returns how many entries; -1: the agent has another owner, or none; -2: the inbox is over its bound, and nothing was done
local agent, rejections, receipts, expiries = ARGV[3], KEYS[4], KEYS[5], KEYS[6]
local session = redis.call('HGET', SESSIONS, agent)
if not session or not string.find(session, ' - @' .. ARGV[4] .. ':', 1, true) then return 0 end
if ARGV[5] ~= '' and string.match(session, '^%d+ %- @%w+:%d+:(%S+)$') ~= ARGV[5] then return -1 end
-- What is over the bound is gone; room that an acknowledgement makes must not bring it back.
local max = tonumber(ARGV[6])
if max > 0 and redis.call('XLEN', KEYS[2]) > max then return -2 end
local wanted, found = {}, {}
for i = 7, LAST_ARG do wanted[ARGV[i]] = true end
for place, lane in ipairs({ KEYS[2], KEYS[3] }) do
  local letter, from = place == 1 and 'i' or 'r', '-'
  while from do
    local entries = redis.call('XRANGE', lane, from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      if wanted[message_id(entry[2][2]) or false] then
        found[#found + 1] = { lane = lane, stored = entry, place = letter .. string.sub(entry[1], 3) }
        needs_receipt(receipts, found[#found].place, true)
      end
    end
    from = #entries == 100 and '(' .. entries[100][1]
  end
end
if missing then return missing end
for _, entry in ipairs(found) do
  redis.call('XDEL', entry.lane, entry.stored[1])
  count_out(entry.stored)
  redis.call('HDEL', rejections, entry.place)
  redis.call('ZREM', expiries, entry.place .. ':' .. agent)
  end_receipt(receipts, entry.place, agent, 'acked')
end
keep_count()
tell_entries()
return #found
