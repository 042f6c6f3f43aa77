-- Deletes acknowledged entries, where none of their agents has an entry with a receipt: see settle-receipts.lua.
-- KEYS[1] expiries (zset); then for each lane: the lane (stream), its agent's rejections, receipts (hashes)
-- ARGV for each lane: 'i' or 'r', agent id, number of entries, their stream ids ('0-<number>') …
-- Returns 1, and has changed nothing, where there is a receipt; else 0
local EXPIRIES = KEYS[1]
local noted
for key = 2, #KEYS, 3 do
  if redis.call('EXISTS', KEYS[key + 1], KEYS[key + 2]) > 0 then
    if redis.call('EXISTS', KEYS[key + 2]) == 1 then return 1 end
    noted = noted or {}
    noted[key] = true
  end
end
-- Whether the stream ids from ARGV[first] to ARGV[last] follow each other without gaps: then they are one range.
local function in_a_row(first, last)
  local number = tonumber(string.sub(ARGV[first], 3))
  for i = first + 1, last do
    if tonumber(string.sub(ARGV[i], 3)) ~= number + i - first then return false end
  end
  return true
end

-- Deletes entries of an inbox some of which may be counted.
local function delete_counted(lane, first, last)
  -- A hundred at once: their texts are read.
  local step = in_a_row(first, last) and 100 or 1
  for i = first, last, step do
    local to = math.min(i + step - 1, last)
    for _, entry in ipairs(redis.call('XRANGE', lane, ARGV[i], ARGV[to])) do count_out(entry) end
    redis.call('XDEL', lane, unpack(ARGV, i, to))
  end
end

local timed = redis.call('EXISTS', EXPIRIES) == 1
local at = 1
for key = 2, #KEYS, 3 do
  local letter, agent, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  -- Lua unpacks some thousands at most.
  for from = at + 3, at + 2 + count, 1000 do
    local to = math.min(from + 999, at + 2 + count)
    if letter == 'i' and inbox_held > 0 then
      delete_counted(KEYS[key], from, to)
    else
      redis.call('XDEL', KEYS[key], unpack(ARGV, from, to))
    end
  end
  local rejected = noted and noted[key]
  if timed or rejected then
    for i = at + 3, at + 2 + count do
      local number = string.sub(ARGV[i], 3)
      if rejected then redis.call('HDEL', KEYS[key + 1], letter .. number) end
      if timed then redis.call('ZREM', EXPIRIES, letter .. number .. ':' .. agent) end
    end
  end
  at = at + 3 + count
end
keep_count()
return 0
