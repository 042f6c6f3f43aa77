-- How many unacknowledged entries the lanes of an agent have, and the text of the oldest one of each.
-- KEYS[1] sessions (hash) 2 inbox 3 replies (streams)
-- ARGV[1] agent id
-- Returns entries and text ('' where there is none) of inbox and replies; false where the agent is not registered
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return false end
local reply = {}
for _, lane in ipairs({ KEYS[2], KEYS[3] }) do
  local first = redis.call('XRANGE', lane, '-', '+', 'COUNT', 1)[1]
  reply[#reply + 1] = redis.call('XLEN', lane)
  reply[#reply + 1] = first and first[2][2] or ''
end
return reply
