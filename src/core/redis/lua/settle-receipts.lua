-- Deletes acknowledged entries and tells the senders of those that have a receipt.
-- KEYS[1] sessions (hash) 2 expiries (zset); then for each lane: the lane (stream), its agent's rejections, receipts (hashes); then the
--   lanes of senders
-- ARGV[1..2] as in _base.lua; for each lane: 'i' or 'r', agent id, number of entries, their stream ids ('0-<number>') …; then senders
--   as in _receipts.lua
-- Returns 0
local EXPIRIES = KEYS[2]

-- Calls `visit` with each entry: its stream id, place, agent and the keys of its lane.
local function each(visit)
  local at = 3
  for key = 3, LAST_KEY, 3 do
    local letter, agent, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    for i = at + 3, at + 2 + count do
      visit(ARGV[i], letter .. string.sub(ARGV[i], 3), agent, KEYS[key], KEYS[key + 1], KEYS[key + 2])
    end
    at = at + 3 + count
  end
end

each(function(_, place, _, _, _, receipts) needs_receipt(receipts, place, true) end)
if missing then return missing end

each(function(id, place, agent, lane, rejections, receipts)
  if inbox_held > 0 then
    for _, entry in ipairs(redis.call('XRANGE', lane, id, id)) do count_out(entry) end
  end
  redis.call('XDEL', lane, id)
  redis.call('HDEL', rejections, place)
  redis.call('ZREM', EXPIRIES, place .. ':' .. agent)
  end_receipt(receipts, place, agent, 'acked')
end)
keep_count()
tell_entries()
return 0
