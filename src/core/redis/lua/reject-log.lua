-- Moves an agent's copy of a broadcast into its inbox, or gives it up.
-- KEYS[1] broadcasts (stream) 2 cursors (hash) 3 settled (set) 4 inbox (stream) 5 rejections (hash) 6 dead (stream) 7 expiries (zset)
--   8 sessions (hash)
-- ARGV[1..4] as in _dead.lua  [5] agent id  [6] number  [7] '1': requeue  [8] delay (ms)  [9] reason or ''  [10] maxAttempts (0: no limit)
-- ARGV[11] fence of the session that rejects, or ''  [12] bytes in the namespace's inboxes (0: no limit): it is counted, and never refused
-- Returns the entry's number in the inbox, 'dead' or 'gone'
local broadcasts, cursors, settled, inbox, rejections, dead, expiries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local agent, number, requeue, delay, reason, max = ARGV[5], ARGV[6], ARGV[7] == '1', tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])

if ARGV[11] ~= '' and string.match(redis.call('HGET', KEYS[8], agent) or '', '^%d+') ~= ARGV[11] then return 'gone' end
local cursor = redis.call('HGET', cursors, agent)
if not cursor or tonumber(number) <= tonumber(cursor) or redis.call('SISMEMBER', settled, number) == 1 then return 'gone' end
local entry = redis.call('XRANGE', broadcasts, '0-' .. number, '0-' .. number)[1]
if not entry then return 'gone' end
redis.call('SADD', settled, number)
advance(cursors, settled, agent, 0)
local text, expires = entry[2][2], entry[2][10]
if not requeue or max == 1 then
  bury(dead, text, agent, reason ~= '' and reason or 'max_attempts', 1)
  announce()
  return 'dead'
end
local id
local field = count_in(tonumber(ARGV[12]), 'i', text)
keep_count()
if expires == '' then id = redis.call('XADD', inbox, '0-*', field, text) else id = redis.call('XADD', inbox, '0-*', field, text, 'x', expires) end
local place = string.sub(id, 3)
if expires ~= '' then redis.call('ZADD', expiries, expires, 'i' .. place .. ':' .. agent) end
redis.call('HSET', rejections, 'i' .. place, '1 ' .. int(now + delay))
return tonumber(place)
