-- Counts a rejection of an entry; gives it up with the last one allowed.
-- KEYS[1] sessions (hash) 2 lane (stream) 3 rejections (hash) 4 receipts (hash) 5 dead (stream) 6 expiries (zset); then the lane of
--   its sender
-- ARGV[1..4] as in _dead.lua  [5] agent id  [6] number  [7] 'i' or 'r'  [8] '1': requeue  [9] delay (ms)  [10] reason or ''
-- ARGV[11] maxAttempts (0: no limit)  ARGV[12] fence of the session that rejects, or ''; then senders as in _receipts.lua
-- Returns rejections so far, 'dead' or 'gone'
local lane, rejections, receipts, dead, expiries = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local agent, number, letter, requeue, delay, reason = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', tonumber(ARGV[9]), ARGV[10]
local max, place = tonumber(ARGV[11]), letter .. number

if ARGV[12] ~= '' and string.match(redis.call('HGET', KEYS[1], agent) or '', '^%d+') ~= ARGV[12] then return 'gone' end
local entry = redis.call('XRANGE', lane, '0-' .. number, '0-' .. number)[1]
if not entry then return 'gone' end
local count = tonumber(string.match(redis.call('HGET', rejections, place) or '0', '^%d+')) + 1
if not requeue or (max > 0 and count >= max) then
  needs_receipt(receipts, place)
  if missing then return missing end
  if reason == '' then reason = 'max_attempts' end
  if not is_receipt(entry[2][2]) then bury(dead, entry[2][2], agent, reason, count) end
  redis.call('XDEL', lane, entry[1])
  count_out(entry)
  keep_count()
  redis.call('HDEL', rejections, place)
  redis.call('ZREM', expiries, place .. ':' .. agent)
  end_receipt(receipts, place, agent, 'dead_lettered', reason, entry[2][2])
  announce()
  tell_entries()
  return 'dead'
end
redis.call('HSET', rejections, place, count .. ' ' .. int(now + delay))
return count
