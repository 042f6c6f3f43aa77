-- Counts a rejection of an entry; gives it up with the last one allowed.
-- KEYS[1] lane (stream) 2 rejections (hash) 3 dead (stream) 4 expiries (zset)
-- ARGV[1..4] as in _dead.lua  [5] agent id  [6] number  [7] 'i' or 'r'  [8] '1': requeue  [9] delay (ms)  [10] reason or ''
-- ARGV[11] maxAttempts (0: no limit)
-- Returns rejections so far, 'dead' or 'gone'
local lane, rejections, dead, expiries = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local agent, number, letter, requeue, delay, reason = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', tonumber(ARGV[9]), ARGV[10]
local max = tonumber(ARGV[11])

local entry = redis.call('XRANGE', lane, '0-' .. number, '0-' .. number)[1]
if not entry then return 'gone' end
local count = tonumber(string.match(redis.call('HGET', rejections, letter .. number) or '0', '^%d+')) + 1
if not requeue or (max > 0 and count >= max) then
  bury(dead, entry[2][2], agent, reason ~= '' and reason or 'max_attempts', count)
  redis.call('XDEL', lane, entry[1])
  redis.call('HDEL', rejections, letter .. number)
  redis.call('ZREM', expiries, letter .. number .. ':' .. agent)
  announce()
  return 'dead'
end
redis.call('HSET', rejections, letter .. number, count .. ' ' .. int(now + delay))
return count
