-- An agent's cursor in the broadcast log at the start of a session.
-- KEYS[1] broadcasts (stream) 2 cursors (hash) 3 settled (set) 4 dead (stream)
-- ARGV[1..4] as in _dead.lua  [5] agent id
-- Returns {cursor, head, number settled beyond the cursor, …}
local broadcasts, cursors, settled, dead, agent = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[5]
local head = last_number(broadcasts)
local cursor = tonumber(redis.call('HGET', cursors, agent) or head)
local first = redis.call('XRANGE', broadcasts, '-', '+', 'COUNT', 1)[1]
local cut = first and tonumber(string.sub(first[1], 3)) - 1 or head
if cursor < cut and redis.call('HEXISTS', cursors, agent) == 1 then
  bury(dead, '{"from":' .. int(cursor + 1) .. ',"to":' .. int(cut) .. '}', agent, 'broadcast_log_cut', 0)
  cursor = advance(cursors, settled, agent, cut)
end
announce()
local reply = { int(cursor), int(head) }
for _, number in ipairs(redis.call('SMEMBERS', settled)) do reply[#reply + 1] = number end
return reply
