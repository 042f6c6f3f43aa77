-- Deletes acknowledged entries, where nobody is to be told of any of them: else see settle-receipts.lua.
-- KEYS[1] expiries (zset); then for each lane: the lane (stream), its agent's rejections, receipts (hashes)
-- ARGV for each lane: 'i' or 'r', agent id, number of entries, their stream ids ('0-<number>') …
-- Returns 1, and has changed nothing, where there is a receipt of one; else 0
local EXPIRIES = KEYS[1]

-- Fields of the hashes of a lane's agent that are about the entries whose stream ids are ARGV[first] to ARGV[last].
local function places(letter, first, last)
  local fields = {}
  for i = first, last do fields[#fields + 1] = letter .. string.sub(ARGV[i], 3) end
  return fields
end

-- Lua unpacks some thousands at most.
local STEP = 1000
local noted
local at = 1
for key = 2, #KEYS, 3 do
  local letter, count = ARGV[at], tonumber(ARGV[at + 2])
  if redis.call('EXISTS', KEYS[key + 1], KEYS[key + 2]) > 0 then
    local receipted = redis.call('EXISTS', KEYS[key + 2]) == 1
    for from = at + 3, receipted and at + 2 + count or 0, STEP do
      local fields = places(letter, from, math.min(from + STEP - 1, at + 2 + count))
      for _, receipt in ipairs(redis.call('HMGET', KEYS[key + 2], unpack(fields))) do
        -- Of what ends well who is told of failures only hears nothing.
        if receipt and string.sub(receipt, 1, 1) ~= 'f' then return 1 end
      end
    end
    noted = noted or {}
    noted[key] = true
  end
  at = at + 3 + count
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
at = 1
for key = 2, #KEYS, 3 do
  local letter, agent, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  for from = at + 3, at + 2 + count, STEP do
    local to = math.min(from + STEP - 1, at + 2 + count)
    if noted and noted[key] then
      local fields = places(letter, from, to)
      redis.call('HDEL', KEYS[key + 1], unpack(fields))
      redis.call('HDEL', KEYS[key + 2], unpack(fields))
    end
    if letter == 'i' and inbox_held > 0 then
      delete_counted(KEYS[key], from, to)
    else
      redis.call('XDEL', KEYS[key], unpack(ARGV, from, to))
    end
  end
  if timed then
    for i = at + 3, at + 2 + count do
      redis.call('ZREM', EXPIRIES, letter .. string.sub(ARGV[i], 3) .. ':' .. agent)
    end
  end
  at = at + 3 + count
end
keep_count()
return 0
