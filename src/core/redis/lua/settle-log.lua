-- Stores what agents have settled of the broadcast log.
-- KEYS[1] cursors (hash); then for each agent its settled (set)
-- ARGV for each agent: id, cursor, count, numbers settled beyond the cursor …
local at = 1
for key = 2, #KEYS do
  local agent, cursor, count = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local stored = tonumber(redis.call('HGET', KEYS[1], agent) or -1)
  if stored >= 0 then
    if count > 0 then redis.call('SADD', KEYS[key], unpack(ARGV, at + 3, at + 2 + count)) end
    if cursor > stored then redis.call('HSET', KEYS[1], agent, ARGV[at + 1]) else cursor = stored end
    for _, number in ipairs(redis.call('SMEMBERS', KEYS[key])) do
      if tonumber(number) <= cursor then redis.call('SREM', KEYS[key], number) end
    end
  end
  at = at + 3 + count
end
return 0
