-- Deletes acknowledged entries.
-- KEYS[1] sessions (hash) 2 expiries (zset); then for each lane: the lane (stream), its agent's rejections, receipts (hashes); then the
--   lanes of senders
-- ARGV[1..2] as in _base.lua; for each lane: 'i' or 'r', agent id, number of entries, their stream ids ('0-<number>') …; then senders
--   as in _receipts.lua
-- Returns 0
local EXPIRIES = KEYS[2]
local timed = redis.call('EXISTS', EXPIRIES) == 1
local noted, receipted = {}, {}
local at = 3
for key = 3, LAST_KEY, 3 do
  local letter, count = ARGV[at], tonumber(ARGV[at + 2])
  noted[key] = redis.call('EXISTS', KEYS[key + 1], KEYS[key + 2]) > 0
  if noted[key] and redis.call('EXISTS', KEYS[key + 2]) == 1 then
    receipted[key] = true
    for i = at + 3, at + 2 + count do needs_receipt(KEYS[key + 2], letter .. string.sub(ARGV[i], 3)) end
  end
  at = at + 3 + count
end
if missing then return missing end

at = 3
for key = 3, LAST_KEY, 3 do
  local letter, agent, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  -- Lua unpacks some thousands at most.
  for from = at + 3, at + 2 + count, 1000 do
    redis.call('XDEL', KEYS[key], unpack(ARGV, from, math.min(from + 999, at + 2 + count)))
  end
  if timed or noted[key] then
    for i = at + 3, at + 2 + count do
      local place = letter .. string.sub(ARGV[i], 3)
      if noted[key] then redis.call('HDEL', KEYS[key + 1], place) end
      if receipted[key] then end_receipt(KEYS[key + 2], place, agent, 'acked') end
      if timed then redis.call('ZREM', EXPIRIES, place .. ':' .. agent) end
    end
  end
  at = at + 3 + count
end
tell_entries()
return 0
