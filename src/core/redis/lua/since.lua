-- Events after a revision.
-- KEYS[1] meta (hash) KEYS[2] events (stream)
-- ARGV[1] revision  ARGV[2] revision + 1  ARGV[3] limit
-- Returns {current revision or false, first kept revision or false, event text, …}
local reply = { redis.call('HGET', KEYS[1], 'revision'), false }
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if first then reply[2] = string.match(first[1], '^%d+') end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])) do reply[#reply + 1] = entry[2][2] end
return reply
