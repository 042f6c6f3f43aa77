-- Deletes acknowledged entries.
-- KEYS[1] expiries (zset); then for each lane: the lane (stream), its agent's rejections (hash)
-- ARGV for each lane: 'i' or 'r', agent id, number of entries, their stream ids ('0-<number>') …
local EXPIRIES = KEYS[1]
local timed = redis.call('EXISTS', EXPIRIES) == 1
local at = 1
for key = 2, #KEYS, 2 do
  local letter, agent, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  -- Lua unpacks some thousands at most.
  for from = at + 3, at + 2 + count, 1000 do
    redis.call('XDEL', KEYS[key], unpack(ARGV, from, math.min(from + 999, at + 2 + count)))
  end
  local rejected = redis.call('EXISTS', KEYS[key + 1]) == 1
  if timed or rejected then
    for i = at + 3, at + 2 + count do
      local number = string.sub(ARGV[i], 3)
      if rejected then redis.call('HDEL', KEYS[key + 1], letter .. number) end
      if timed then redis.call('ZREM', EXPIRIES, letter .. number .. ':' .. agent) end
    end
  end
  at = at + 3 + count
end
return 0
