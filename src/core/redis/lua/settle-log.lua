-- Stores what agents have settled of the broadcast log.
-- KEYS[1] broadcasts (stream) 2 cursors (hash); then for each agent its settled (set)
-- ARGV[1..4] as in _dead.lua; then for each agent: id, cursor, count, numbers settled beyond the cursor …
local cursors, head = KEYS[2], last_number(KEYS[1])
local at = 5
for key = 3, #KEYS do
  local agent, cursor, count = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  -- Beyond the end of the log stands who read another one, before a loss of data.
  if cursor <= head and redis.call('HEXISTS', cursors, agent) == 1 then
    -- Lua unpacks some thousands at most.
    for from = at + 3, at + 2 + count, 1000 do
      redis.call('SADD', KEYS[key], unpack(ARGV, from, math.min(from + 999, at + 2 + count)))
    end
    advance(cursors, KEYS[key], agent, cursor)
  end
  at = at + 3 + count
end
return 0
