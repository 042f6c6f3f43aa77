-- Stores what agents have settled of the broadcast log.
-- KEYS[1] cursors (hash); then for each agent its settled (set)
-- ARGV for each agent: id, cursor, count, numbers settled beyond the cursor …
local at = 1
for key = 2, #KEYS do
  local agent, cursor, count = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if redis.call('HEXISTS', KEYS[1], agent) == 1 then
    -- Lua unpacks some thousands at most.
    for from = at + 3, at + 2 + count, 1000 do
      redis.call('SADD', KEYS[key], unpack(ARGV, from, math.min(from + 999, at + 2 + count)))
    end
    advance(KEYS[1], KEYS[key], agent, cursor)
  end
  at = at + 3 + count
end
return 0
