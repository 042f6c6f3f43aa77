-- Reads the broadcast log.
-- KEYS[1] broadcasts (stream)
-- ARGV[1] number after which to read  ARGV[2] limit
-- Returns {last number given, {number, text, from, echo 0/1, recipients (JSON) or '', expiresAt or ''}, …}
if redis.call('EXISTS', KEYS[1]) == 0 then return { 0 } end
local reply = { 0 }
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then reply[1] = tonumber(string.sub(info[i + 1], 3)) end
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(0-' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  local fields = entry[2]
  reply[#reply + 1] = { string.sub(entry[1], 3), fields[2], fields[4], fields[6], fields[8], fields[10] }
end
return reply
